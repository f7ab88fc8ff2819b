import HiredisClient
import PrivateRedis
import SingleflightRedis
import Testing

/// A state that a redis-server can be in, and what callers are to get meanwhile.
struct ServerState: Sendable, CustomTestStringConvertible {
    /// How long the server stays in the state.
    enum Stay: String, Sendable, CaseIterable {
        /// A leader's operation ends meanwhile; the server is well again before the lease would end.
        case brief
        /// A leader's operation goes on; the lease ends, and is forgotten, before the server is well again.
        case lasting

        /// How long a state lasts that ends by itself.
        var duration: Duration {
            switch self {
            case .brief: .milliseconds(1_200)
            case .lasting: .milliseconds(4_500)
            }
        }
    }

    /// Whom the processes log in as.
    enum Login: Sendable {
        /// As the default user, without credentials.
        case anyone
        /// As a user of their own, whose rights a state can change.
        case worker
    }

    /// What becomes of what the server holds.
    enum Memory: Sendable {
        case isKept
        /// Any of it can be lost, for as long as the state lasts.
        case isLost
        /// It is gone, and comes back: no history is checked, for its model knows of no such thing.
        case comesBack
    }

    /// What the callers are to get while the server stays in the state; any of each list will do.
    struct Answers: Sendable {
        /// Of a call that comes meanwhile, for a key that nobody leads.
        var newcomer: [ExpectedAnswer]
        /// Of the call that leads since before.
        var leader: [ExpectedAnswer]
        /// Of the call in another process that waits for the leader since before.
        var follower: [ExpectedAnswer]
    }

    var name: String
    /// Whether servers before 7.0 cannot be in it.
    var needs7 = false
    var login = Login.anyone
    var memory = Memory.isKept
    /// Lines of the server's configuration.
    var configuration: [String] = []
    /// Prepares the server, which is well then.
    var prepare: @Sendable (ServerStage) async throws -> Void = { _ in }
    var strike: @Sendable (ServerStage) async throws -> Void
    var heal: @Sendable (ServerStage) async throws -> Void
    var brief: Answers
    var lasting: Answers

    var testDescription: String { self.name }

    func answers(_ stay: Stay) -> Answers {
        switch stay {
        case .brief: self.brief
        case .lasting: self.lasting
        }
    }
}

/// What a call came to, as far as it matters here.
enum Answer: Sendable, CustomStringConvertible {
    /// A value, of which Redis knows.
    case value
    /// No result will come.
    case canceled(Cancellation)
    /// The store could not be asked.
    case failed(LeaseStoreError)
    /// Anything else, which no state may lead to.
    case unexpected(String)

    init(_ outcome: Outcome<String>) {
        switch outcome {
        case .canceled(let reason):
            self = .canceled(reason)
        case .complete(let completion):
            switch completion.result {
            case .success:
                self = completion.coordination == .coordinated ? .value : .unexpected("a value without a lease")
            case .failure(let error):
                let cause = (error as? DistributedGroupError)?.underlying as? LeaseStoreError
                self = cause.map { .failed($0) } ?? .unexpected("\(error)")
            }
        }
    }

    var description: String {
        switch self {
        case .value: "the value"
        case .canceled(let reason): "canceled: \(reason)"
        case .failed(let error): "\(error)"
        case .unexpected(let what): "unexpected: \(what)"
        }
    }
}

enum ExpectedAnswer: Sendable {
    case value
    case canceled(Cancellation)
    /// The code, and what the message must hold: what happened, and what to do about it.
    case failed(LeaseStoreError.Code, [String])

    static func failed(_ code: LeaseStoreError.Code, _ words: String...) -> ExpectedAnswer {
        .failed(code, words)
    }

    func allows(_ answer: Answer) -> Bool {
        switch (self, answer) {
        case (.value, .value): true
        case (.canceled(let expected), .canceled(let reason)): expected == reason
        case (.failed(let code, let words), .failed(let error)):
            // Once that has lasted for a command timeout, the store is known to be down.
            (error.code == code || error.code == .down && [.unavailable, .timedOut].contains(code))
                && words.allSatisfy { error.message.contains($0) }
        default: false
        }
    }
}

extension LeaseStoreError {
    /// The code of the server's error, if it was the server that answered with one.
    var serverCode: String? {
        (self.underlying as? RedisClientError)?.serverError.map { String($0.code) }
    }
}
