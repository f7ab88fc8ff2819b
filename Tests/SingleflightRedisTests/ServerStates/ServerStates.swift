import HiredisClient
import PrivateRedis
import SingleflightRedis
import TestSupport

/// The states that a redis-server is put into, and what callers get in each.
enum ServerStates {
    /// Those that the server's version can be in.
    static let all = (memory + roles + busy + refusals + connections + losses + settings).filter { state in
        !state.needs7 || !ServerVersion.current.isBefore7
    }
}

extension ServerState {
    /// A server that carries nothing out, and says so by `answer`.
    init(
        name: String,
        needs7: Bool = false,
        login: Login = .anyone,
        configuration: [String] = [],
        prepare: @escaping @Sendable (ServerStage) async throws -> Void = { _ in },
        strike: @escaping @Sendable (ServerStage) async throws -> Void,
        heal: @escaping @Sendable (ServerStage) async throws -> Void,
        unserved answer: ExpectedAnswer
    ) {
        self.init(
            name: name,
            needs7: needs7,
            login: login,
            configuration: configuration,
            prepare: prepare,
            strike: strike,
            heal: heal,
            // The leader's callers are not kept waiting; the result is handed in once the server is well, and told.
            // Where the connections have to be made anew, that can be too late. A follower whose inbox was cut off,
            // too, asks at once, and waits no longer than a command timeout for an answer.
            brief: Answers(newcomer: [answer], leader: [answer], follower: [.value, .expired, answer]),
            lasting: .cutOff(answer)
        )
    }

    /// A server that refuses a user: a result is not handed in again, for time heals no missing right.
    init(
        name: String,
        login: Login,
        strike: @escaping @Sendable (ServerStage) async throws -> Void,
        heal: @escaping @Sendable (ServerStage) async throws -> Void,
        refused answer: ExpectedAnswer
    ) {
        self.init(
            name: name,
            login: login,
            strike: strike,
            heal: heal,
            // The leader hands its lease back until it may: that can be before its follower asks.
            brief: Answers(
                newcomer: [answer],
                leader: [answer],
                follower: [.expired, .canceled(.leaderLeft), answer]
            ),
            lasting: .cutOff(answer)
        )
    }
}

extension ServerState {
    /// The same on a server that compares and deletes: a flight that nobody joins needs no script there.
    var unsharedWithoutScripts: ServerState {
        guard ServerVersion.current.comparesAndDeletes else { return self }
        var state = self
        state.brief.newcomer = [.value]
        state.lasting.newcomer = [.value]
        return state
    }

    /// What callers get of a server that refuses commands, and scripts only in part: those before 7.0 look at each write
    /// of a script by itself, and at none for the number of replicas.
    var orAnswered: (brief: Answers, lasting: Answers) { (self.brief.orValue, self.lasting.orValue) }
}

extension ServerState.Answers {
    /// These, or values.
    var orValue: Self {
        Self(newcomer: self.newcomer + [.value], leader: self.leader + [.value], follower: self.follower + [.value])
    }

    /// As if nothing were the matter.
    static let undisturbed = ServerState.Answers(newcomer: [.value], leader: [.value], follower: [.value])
    /// The flight goes on for as long as its operation does: the state does not touch it.
    static let stillLed = undisturbed
    /// The flight is gone, and the server is as good as new.
    static let emptied = ServerState.Answers(
        newcomer: [.value],
        leader: [.canceled(.leaseLost)],
        follower: [.canceled(.storeLostFlight)]
    )

    /// The leader's lease ends by its own clock, and its follower learns why it cannot be told how the flight ended.
    static func cutOff(_ answer: ExpectedAnswer) -> ServerState.Answers {
        ServerState.Answers(newcomer: [answer], leader: [.leaseEnded], follower: [answer])
    }
}

extension ExpectedAnswer {
    /// The leader did not hear of its lease until the end of it.
    static let leaseEnded = ExpectedAnswer.canceled(.leaseExpired)
    /// The follower was told by Redis that the leader's lease had run out.
    static let expired = ExpectedAnswer.canceled(.leaseExpired)
}
