import SingleflightRedis
import TestSupport
import Testing

/// A real redis-server in every state we could think of, with a leader, a follower and a newcomer on it.
@Suite("Server states", .keepsBusy, .timeLimit(.minutes(10)))
struct ServerStateTests {
    /// Beyond the bounds, for a machine that is busy with other things.
    private static let slack = Duration.seconds(5)
    /// Each trial has a server and two processes' connections, and sleeps most of the time.
    private static let slots = Slots(16)

    @Test(
        "each is told for what it is, nobody hangs, nothing is left behind, and all is well after it",
        arguments: ServerStates.all,
        ServerState.Stay.allCases
    )
    func trial(state: ServerState, stay: ServerState.Stay) async throws {
        await Self.slots.take()
        defer { Self.slots.giveBack() }
        let trial = try await ServerTrial.run(state, stay)
        ServerTable.shared.add(trial, of: state, stay)

        let expected = state.answers(stay)
        for (who, told, expected) in [
            ("newcomer", trial.newcomer, expected.newcomer),
            ("leader", trial.leader, expected.leader),
            ("follower", trial.follower, expected.follower),
        ] {
            #expect(
                expected.contains { $0.allows(told.answer) },
                "\(state.name), \(stay): the \(who) got \(told.answer)"
            )
        }
        #expect(trial.newcomer.after < ServerTrial.commandTimeout + Self.slack)
        switch stay {
        case .brief: #expect(trial.leader.after < ServerTrial.commandTimeout + Self.slack)
        case .lasting: #expect(trial.leader.after < ServerTrial.lease + stay.duration + Self.slack)
        }
        #expect(trial.follower.after < max(ServerTrial.followerBound, stay.duration) + Self.slack)
        #expect(trial.recovery < .seconds(2) + Self.slack)
        #expect(trial.leftBehind == [])
        #expect(trial.stillInFlight == 0)
        #expect(trial.violations == [], "\(state.name), \(stay)")
    }
}
