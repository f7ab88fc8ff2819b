/// What a flight does on behalf of those who wait for it.
@usableFromInline
enum Work: Sendable {
    /// The task that runs the operation.
    case task(Task<Void, Never>)

    /// The work is scheduled by hand: called when nobody waits any more.
    case handler(@Sendable () -> Void)

    /// One piece of work for this flight and others.
    case shared(any SharedWork)

    /// Nobody waits any more.
    @usableFromInline
    func abandon() {
        switch self {
        case .task(let task): task.cancel()
        case .handler(let handler): handler()
        case .shared(let work): work.abandon()
        }
    }

    /// Somebody of this priority waits.
    @usableFromInline
    func raise(to priority: UInt8) {
        switch self {
        case .task(let task):
            if #available(macOS 26.0, iOS 26.0, tvOS 26.0, watchOS 26.0, visionOS 26.0, *) {
                task.escalatePriority(to: TaskPriority(rawValue: priority))
            }
        case .handler:
            break
        case .shared(let work):
            work.raise(to: priority)
        }
    }
}

/// A piece of work that several flights wait for.
@usableFromInline
protocol SharedWork: AnyObject, Sendable {
    /// Nobody waits any more for one of its flights, which has ended. Called once for each.
    func abandon()
    /// Somebody of this priority waits.
    func raise(to priority: UInt8)
}
