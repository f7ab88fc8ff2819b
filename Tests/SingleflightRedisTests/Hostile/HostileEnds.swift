import SingleflightLease
import SingleflightRedis
import Synchronization

/// How the requests and calls of all sessions ended, by kind: for docs/reliability.md, and to see that there is more
/// than one.
final class HostileEnds: Sendable {
    private let counts = Mutex<[String: Int]>([:])

    func request(_ error: LeaseStoreError?) {
        self.add("requests " + (error.map { "\($0.code)" } ?? "answered"))
    }

    func call(_ outcome: Outcome<String>) {
        switch outcome {
        case .complete(let completion):
            switch completion.result {
            case .success where completion.coordination == .degraded: self.add("calls with a value, without a lease")
            case .success where completion.role == .follower: self.add("calls with a value that the server made up")
            case .success: self.add("calls with a value, under a lease")
            case .failure(let error as DistributedGroupError): self.add("calls failed, \(error.code)")
            case .failure: self.add("calls failed, by an error that the server made up")
            }
        case .canceled(let reason):
            if reason.code == .revoked { return self.add("calls canceled, revoked") }
            self.add("calls canceled, \(reason)")
        }
    }

    private func add(_ kind: String) {
        self.counts.withLock { $0[kind, default: 0] += 1 }
    }

    /// How many kinds there are.
    var kinds: Int { self.counts.withLock { $0.count } }

    /// A line for each kind.
    var lines: [String] {
        self.counts.withLock { $0.sorted { $0.key < $1.key }.map { "hostile: \($0.value) \($0.key)" } }
    }
}
