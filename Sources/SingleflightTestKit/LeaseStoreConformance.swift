public import SingleflightLease

/// What a conformance run needs of the store under test.
public protocol LeaseStoreFixture: Sendable {
    /// Makes the store's view of one more process, connected and ready. All views share one server.
    func makeStore(label: String) async throws -> any LeaseStore

    /// Ends the process of a store that was made here without a word, and returns once the server knows that nobody
    /// listens to its inbox any more.
    func kill(_ store: any LeaseStore) async

    /// Lets at least this much time pass on the server's clock.
    func advance(by duration: Duration) async
}

/// A store's breach of what `LeaseStore` promises.
public struct ConformanceFailure: Error, CustomStringConvertible {
    /// Says what was expected, and what happened.
    public var description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Checks that a store keeps the promises of `LeaseStore`, whatever it is made of.
///
/// Tied to no test framework: run each of ``cases`` on a fixture, and report what it throws.
///
/// ```swift
/// @Test(arguments: LeaseStoreConformance.cases)
/// func conforms(_ conformanceCase: LeaseStoreConformance.Case) async throws {
///     try await conformanceCase.run(on: MyFixture())
/// }
/// ```
public enum LeaseStoreConformance {
    /// One promise, named as a sentence.
    public struct Case: Sendable, CustomStringConvertible {
        /// What is promised.
        public let description: String
        private let body: @Sendable @concurrent (ConformanceRun) async throws -> Void

        init(_ description: String, _ body: @escaping @Sendable @concurrent (ConformanceRun) async throws -> Void) {
            self.description = description
            self.body = body
        }

        /// Checks the promise; throws ``ConformanceFailure`` where it is broken, and what the fixture or the store
        /// throws.
        ///
        /// It waits for announcements without a limit: give the test that runs it a time limit. The cases use keys of
        /// their own, so that they can share a server and run at the same time.
        public func run(on fixture: any LeaseStoreFixture) async throws {
            try await self.body(ConformanceRun(fixture: fixture))
        }
    }

    /// Every case.
    public static let cases: [Case] = [
        leading, ending, following, loss, releasing, withdrawing, terms, circles, streams, identities,
    ].flatMap { $0 }
}

/// One run of one case: a fresh key, and the processes that the case asks for.
struct ConformanceRun: Sendable {
    let fixture: any LeaseStoreFixture
    let key: FlightKey

    init(fixture: any LeaseStoreFixture) throws {
        var generator = SystemRandomNumberGenerator()
        self.fixture = fixture
        self.key = try FlightKey(group: "conformance", bytes: Array(LeaseToken(using: &generator).description.utf8))
    }

    func process(_ label: String) async throws -> ConformanceProcess {
        ConformanceProcess(store: try await self.fixture.makeStore(label: label), key: self.key)
    }

    func token() -> LeaseToken {
        var generator = SystemRandomNumberGenerator()
        return LeaseToken(using: &generator)
    }

    /// Lets a lease of ``LeaseTerms/short`` run out, but not its grace.
    func expire() async {
        await self.fixture.advance(by: LeaseTerms.short().duration + .milliseconds(100))
    }
}

extension LeaseTerms {
    /// For cases in which nothing expires.
    static func long(_ leaderLoss: LeaderLossPolicy = .cancel, acceptsReuse: Bool = false) -> LeaseTerms {
        LeaseTerms(
            duration: .seconds(30),
            grace: .seconds(30),
            retention: .seconds(30),
            leaderLoss: leaderLoss,
            acceptsReuse: acceptsReuse
        )
    }

    /// For cases in which the lease expires. Longer than a busy machine may take between two requests.
    static func short(
        _ leaderLoss: LeaderLossPolicy = .cancel,
        retention: Duration = .seconds(30)
    ) -> LeaseTerms {
        LeaseTerms(
            duration: .seconds(3),
            grace: .seconds(30),
            retention: retention,
            leaderLoss: leaderLoss
        )
    }
}

func expectEqual<Value: Equatable>(_ found: Value, _ expected: Value, _ promise: String) throws {
    guard found == expected else {
        throw ConformanceFailure("\(promise): expected \(expected), found \(found)")
    }
}

func expectReuse(
    _ found: EnterReply,
    of token: LeaseToken,
    _ outcome: StoredOutcome,
    _ promise: String
) throws -> Freshness {
    guard case .reuse(token, outcome, let freshness?) = found else {
        throw ConformanceFailure("\(promise): expected the outcome of \(token), found \(found)")
    }
    return freshness
}

func expectTrue(_ condition: Bool, _ promise: String) throws {
    guard condition else { throw ConformanceFailure(promise) }
}
