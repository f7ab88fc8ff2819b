import SingleflightRedis

/// What the processes of a soak may differ in. The number names all of it: 0 is what processes have that do not differ.
struct WorkerSettings: Equatable {
    struct Group: Equatable {
        var leaderLoss: LeaderLossPolicy
        var unavailable: UnavailablePolicy
        var onLost: LostLeasePolicy
    }

    var lease = SoakSettings.lease
    var grace = SoakSettings.grace
    var retention = SoakSettings.retention
    var maximumBytes = 8 << 20
    /// The ledger counts on it that an operation is canceled when its lease may be lost, or says that it goes on.
    var canceling = Group(leaderLoss: .cancel, unavailable: .fail, onLost: .cancel)
    var takingOver = Group(leaderLoss: .takeOver(attempts: 2), unavailable: .runLocally, onLost: .cancel)

    /// The longest that any process may choose.
    static let longestLease = Duration.milliseconds(500)
    static let longestGrace = Duration.milliseconds(600)
    static let longestRetention = Duration.milliseconds(800)

    init(_ number: UInt64) {
        guard number > 0 else { return }
        var random = FlightRandom.seeded(number)
        func one<Choice>(of choices: Choice...) -> Choice {
            choices[Int.random(in: choices.indices, using: &random)]
        }
        self.lease = one(of: SoakSettings.lease, .milliseconds(300), Self.longestLease)
        self.grace = one(of: SoakSettings.grace, Self.longestGrace)
        self.retention = one(of: SoakSettings.retention, Self.longestRetention)
        // The least is less than what some ordinary results take, and the next less than what big ones do.
        self.maximumBytes = one(of: 64 << 10, 1 << 20, 8 << 20)
        func group() -> Group {
            Group(
                leaderLoss: one(of: .cancel, .takeOver(attempts: 1), .takeOver(attempts: 2)),
                unavailable: one(of: .fail, .runLocally),
                onLost: one(of: .cancel, .leadAgain)
            )
        }
        self.canceling = group()
        self.takingOver = group()
    }
}
