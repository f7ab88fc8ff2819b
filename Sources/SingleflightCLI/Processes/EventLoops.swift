import NIOCore

/// How many event loops this process makes.
enum EventLoops {
    /// One, from the first use of this on: SwiftNIO lets that be said once, before there is any.
    static let one: Void = { NIOSingletons.groupLoopCountSuggestion = 1 }()
}
