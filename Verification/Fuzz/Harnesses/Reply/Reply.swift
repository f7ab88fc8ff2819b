import HiredisClient
import SingleflightLease
import Support

@testable import SingleflightRedis

/// Whatever a server answers to a script is understood or refused as a violation of the protocol, by every operation;
/// no number that is understood is beyond what the protocol allows, for it is computed with.
///
/// Each answer is also tried with other numbers in it: those at the edges are many digits away from those in the seeds.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Input(start, count).bytes
    var reader = RESPReader()
    bytes.withUnsafeBytes { reader.feed($0) }
    while let value = try? reader.next() {
        check(value)
        for number in edges { check(value.with(number)) }
    }
    return 0
}

private let edges: [Int64] = [-1, 1000, 1 << 31, 100_000_000, (1 << 53) + 1, .max, .min]

extension RESPValue {
    /// The value with every number in it exchanged for this one.
    fileprivate func with(_ number: Int64) -> RESPValue {
        switch self {
        case .integer: .integer(number)
        case .array(let elements): .array(elements.map { $0.with(number) })
        case .simpleString, .error, .bulk, .null, .tooLong: self
        }
    }
}

private func check(_ value: RESPValue) {
    do throws(LeaseStoreError) {
        _ = try LeaseInspection(reply: value)
    } catch {
        expectEqual(error.code, .protocolViolation, "an inspection")
    }
    let reply: ScriptReply
    do throws(LeaseStoreError) {
        reply = try ScriptReply(value)
    } catch {
        return expectEqual(error.code, .protocolViolation, "no answer of a script")
    }
    let words = [
        "LEAD", "FOLLOW", "DONE", "LATE", "OK", "LOST", "EXPIRED", "DUP", "STALE", "UNKNOWN", "WAITED", "RUN", "GONE",
        "NOOP",
    ]
    var understood = 0
    func attempt(_ read: () throws(LeaseStoreError) -> Void) {
        do {
            try read()
            understood += 1
        } catch {
            expectEqual(error.code, .protocolViolation, "an answer \(reply.word)")
        }
    }
    attempt { () throws(LeaseStoreError) in
        switch try reply.enterReply() {
        case .lead(let attempt): expect((0...999).contains(attempt), "\(attempt) takeovers")
        case .follow(_, let remaining): checkLease(remaining)
        case .reuse, .late: break
        }
    }
    attempt { () throws(LeaseStoreError) in
        if case .renewed(let waiters) = try reply.renewReply() { checkWaiters(waiters) }
    }
    attempt { () throws(LeaseStoreError) in
        if case .accepted(let waiters) = try reply.completeReply() { checkWaiters(waiters) }
    }
    attempt { () throws(LeaseStoreError) in
        switch try reply.releaseReply() {
        case .released(let waiters), .awaited(let waiters): checkWaiters(waiters)
        case .notHeld: break
        }
    }
    attempt { () throws(LeaseStoreError) in
        if case .running(let remaining) = try reply.pollReply() { checkLease(remaining) }
    }
    attempt { () throws(LeaseStoreError) in checkWaiters(try reply.leaveReply().waiters) }
    attempt { () throws(LeaseStoreError) in _ = try reply.fenceReply() }
    attempt { () throws(LeaseStoreError) in
        if case .revoked(_, let waiters) = try reply.revokeReply() { checkWaiters(waiters) }
    }
    expect(understood == 0 || words.contains(reply.word), "\(reply.word) was understood")
    if let time = reply.serverTime { expect((0...1 << 53).contains(time), "\(time) ms since 1970") }
}

private func checkWaiters(_ count: Int) {
    expect((0...Int(Int32.max)).contains(count), "\(count) waiters")
}

private func checkLease(_ remaining: Duration) {
    expect((.zero...Duration.milliseconds(99_999_999)).contains(remaining), "a lease of \(remaining)")
}
