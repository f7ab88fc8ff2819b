import SingleflightLease
import SingleflightTestKit
import TestSupport
import Testing

/// One process with a group of streams.
struct StreamProcess: Sendable {
    let store: InMemoryLeaseStore
    let group: StreamGroup<String, String>

    init(
        _ label: String,
        on cluster: Cluster,
        _ configuration: DistributedGroupConfiguration = .test,
        limits: StreamLimits = .init()
    ) throws {
        self.store = InMemoryLeaseStore(server: cluster.server, label: label)
        self.group = try StreamGroup(
            "group",
            store: self.store,
            configuration: configuration,
            limits: limits,
            codec: JSONCodec<String>()
        )
    }

    func stream(
        _ source: PartSource,
        waitingAtMost limit: Duration? = nil,
        unavailable: UnavailablePolicy? = nil
    ) -> FlightStream<String> {
        self.group.stream("key", waitingAtMost: limit, unavailable: unavailable) { try await source.write(to: $0) }
    }
}

/// An operation that writes what a test says, when it says it.
final class PartSource: Sendable {
    private let parts: AsyncThrowingStream<String, any Error>
    private let feed: AsyncThrowingStream<String, any Error>.Continuation
    private let started = Counter()
    private let written = Counter()
    private let ended = Counter()

    init(_ parts: String...) {
        (self.parts, self.feed) = AsyncThrowingStream.makeStream()
        for part in parts { self.give(part) }
    }

    var starts: Int { self.started.value }

    func untilStarted(_ count: Int = 1) async throws { try await until("\(count) runs") { self.starts >= count } }
    func untilWritten(_ count: Int) async throws { try await until("\(count) parts") { self.written.value >= count } }
    func untilEnded() async throws { try await until("the run's end") { self.ended.value == self.starts } }

    func give(_ part: String) { self.feed.yield(part) }
    func finish(_ error: (any Error)? = nil) { self.feed.finish(throwing: error) }

    func write(to writer: StreamWriter<String, String>) async throws {
        self.started.increment()
        defer { self.ended.increment() }
        for try await part in self.parts {
            try await writer.write(part)
            self.written.increment()
        }
        try Task.checkCancellation()
    }
}

/// What a reader got: its parts, `|` for a restart, and why it ended, if not with the last part.
struct Reading: Sendable, Equatable, CustomStringConvertible {
    var parts: [String] = []
    var error: String?

    var description: String { self.parts.joined(separator: " ") + (self.error.map { " ! \($0)" } ?? "") }

    init(_ parts: [String], error: String? = nil) {
        self.parts = parts
        self.error = error
    }

    init(_ stream: FlightStream<String>) async {
        do {
            for try await part in stream { self.parts.append(part) }
        } catch {
            self.error = Self.name(error)
        }
    }

    init(eventsOf stream: FlightStream<String>) async {
        do {
            for try await event in stream.events {
                switch event {
                case .part(let part): self.parts.append(part)
                case .restarted: self.parts.append("|")
                }
            }
        } catch {
            self.error = Self.name(error)
        }
    }

    static func name(_ error: any Error) -> String {
        switch error {
        case let error as DistributedGroupError: "\(error.code)"
        case let error as RemoteFailure: error.message
        default: "\(error)"
        }
    }
}

struct WritingFailed: Error, CustomStringConvertible {
    let description: String
}
