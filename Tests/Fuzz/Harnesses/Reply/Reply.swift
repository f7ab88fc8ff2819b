import HiredisClient
import SingleflightLease
import Support

@testable import SingleflightRedis

/// Whatever a server answers to a script is understood or refused as a violation of the protocol, by every operation.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Input(start, count).bytes
    var reader = RESPReader()
    bytes.withUnsafeBytes { reader.feed($0) }
    while let value = try? reader.next() { check(value) }
    return 0
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
    attempt { () throws(LeaseStoreError) in _ = try reply.enterReply() }
    attempt { () throws(LeaseStoreError) in _ = try reply.renewReply() }
    attempt { () throws(LeaseStoreError) in _ = try reply.completeReply() }
    attempt { () throws(LeaseStoreError) in _ = try reply.releaseReply() }
    attempt { () throws(LeaseStoreError) in _ = try reply.pollReply() }
    attempt { () throws(LeaseStoreError) in _ = try reply.leaveReply() }
    attempt { () throws(LeaseStoreError) in _ = try reply.fenceReply() }
    attempt { () throws(LeaseStoreError) in _ = try reply.revokeReply() }
    expect(understood == 0 || words.contains(reply.word), "\(reply.word) was understood")
}
