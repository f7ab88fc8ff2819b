import SingleflightRedis

/// Runs what is asked for under one idempotency key once, and gives every repetition the same answer: a flight whose
/// result is used again.
///
/// What this does not do:
/// - At least once is not exactly once. A process that is paused for longer than its lease, and a Redis that loses its
///   data, let work run twice: what must not be there twice has a unique key in the database, too.
/// - Errors are not kept: what threw may be asked for again.
/// - Another request under a key in use learns that when the first one is over, no sooner.
struct Idempotency<Value: Codable & Sendable>: Sendable {
    /// How it went for one request.
    enum Outcome: Sendable {
        /// The work ran for this request. If its value is not kept, because Redis went away, a repetition runs it
        /// again.
        case ran(Value, isKept: Bool)
        /// This request came while another one of the same kind ran, here or elsewhere.
        case joined(Value)
        /// This request came later.
        case replayed(Value)
        /// The key belongs to a request of another fingerprint.
        case anotherRequest
        /// The first request still runs.
        case running
        /// Nobody knows an answer: the first request failed or was lost, or Redis cannot be asked.
        case failed(String)
    }

    private struct Answer: Codable, Sendable {
        var fingerprint: String
        var value: Value
    }

    private let answers: DistributedGroup<CompoundKey, Answer>
    private let patience: Duration

    /// - Parameters:
    ///   - window: how long an answer is kept; longer than a client goes on repeating its request.
    ///   - patience: how long a repetition waits for the first request.
    init(_ name: String, store: any LeaseStore, window: Duration, patience: Duration) throws {
        let configuration = DistributedGroupConfiguration(
            results: .init(reuse: window),
            // Without coordination the same could be done on two hosts.
            unavailable: .fail
        )
        self.answers = try DistributedGroup(name, store: store, configuration: configuration)
        self.patience = patience
    }

    /// - Parameters:
    ///   - tenant: who asks. Two tenants may well choose the same key.
    ///   - fingerprint: of all that the answer depends on.
    /// - Throws: what the work throws.
    func run(
        tenant: String,
        key: String,
        fingerprint: String,
        _ work: () async throws -> Value
    ) async throws -> Outcome {
        switch await self.answers.entry(CompoundKey(tenant, key)) {
        case .leader(let leader):
            do {
                let value = try await leader.onBehalf(work)
                leader.complete(.success(Answer(fingerprint: fingerprint, value: value)))
                // Nobody is told before the answer is kept: a client repeats what it was told nothing of.
                guard case .complete(let completion) = await leader.outcome(), case .success = completion.result else {
                    return .ran(value, isKept: false)
                }
                return .ran(value, isKept: completion.coordination == .coordinated)
            } catch {
                leader.complete(.failure(error))
                throw error
            }
        case .subscriber(let subscriber):
            switch await self.outcome(of: subscriber) {
            case .complete(let completion):
                switch completion.result {
                case .success(let answer) where answer.fingerprint != fingerprint: return .anotherRequest
                case .success(let answer):
                    return completion.source == .reused ? .replayed(answer.value) : .joined(answer.value)
                case .failure(let error): return .failed("\(error)")
                }
            case .canceled(.waitLimitReached): return .running
            case .canceled(let reason): return .failed("\(reason)")
            }
        }
    }

    private func outcome(
        of subscriber: DistributedGroup<CompoundKey, Answer>.Subscriber
    ) async -> Singleflight.Outcome<Answer> {
        await withTaskGroup { group in
            group.addTask { await subscriber.outcome() }
            group.addTask {
                try? await Task.sleep(for: self.patience)
                return .canceled(.waitLimitReached)
            }
            defer { group.cancelAll() }
            return await group.next() ?? .canceled(.waitLimitReached)
        }
    }
}
