package import HiredisClient

/// The protocol's scripts: whatever needs more than one command on a flight's keys. docs/protocol.md says what each
/// promises, and `Scripts` has them, one file for each script and for each function that several of them share.
///
/// Rules that all of them keep: every key that they touch is in KEYS, a flight's `lease`, `wait` and `done` in this
/// order; reads come before writes, messages come last and through `pcall`; no key is left without a time to live; all
/// time is the server's. All but `enter`, `append`, and `complete` with a long payload, may run while the server is out
/// of memory: they end flights or keep them alive, and free memory sooner or later.
package enum LeaseScripts {
    package static let enter = script(
        [.readLease, .left, .name, .publish, .event, .heard, .mark, .register, .tell, .decide, .lapse],
        PackageResources.enter_lua,
        flags: nil
    )
    static let renew = script(
        [.readLease, .canceled, .left, .name, .publish, .event, .heard, .awaited, .mark, .tell],
        PackageResources.renew_lua
    )
    package static let complete = script(
        [.readLease, .canceled, .name, .publish, .event, .tell, .decide],
        PackageResources.complete_lua
    )
    /// The same, for payloads that would fill a server which is out of memory.
    package static let completeLong = script(
        [.readLease, .canceled, .name, .publish, .event, .tell, .decide],
        PackageResources.complete_lua,
        flags: nil
    )
    static let release = script(
        [.readLease, .name, .publish, .event, .heard, .awaited, .tell, .strike, .decide],
        PackageResources.release_lua
    )
    static let poll = script(
        [.readLease, .left, .name, .publish, .event, .heard, .mark, .register, .tell, .decide, .lapse],
        PackageResources.poll_lua
    )
    static let leave = script([.readLease, .name, .publish, .event, .tell, .strike], PackageResources.leave_lua)
    static let fence = script([.readLease, .left], PackageResources.fence_lua)
    static let revoke = script([.readLease, .name, .publish, .event, .tell, .decide], PackageResources.revoke_lua)
    static let depend = script([.readLease], PackageResources.depend_lua)
    static let inspect = script([.readLease], PackageResources.inspect_lua, flags: "no-writes")
    /// Refused while the server is out of memory, as a long result.
    static let append = script(
        [.readLease, .canceled, .name, .publish, .tell],
        PackageResources.append_lua,
        flags: nil
    )
    static let read = script([], PackageResources.read_lua)

    /// Payloads that are longer than this many bytes are not stored while the server is out of memory.
    static let longPayload = 16 * 1024

    /// A function that several scripts share.
    private enum Function {
        case readLease, left, name, publish, heard, awaited, mark, register, strike, event, tell, decide, lapse
        case canceled

        var source: [UInt8] {
            switch self {
            case .readLease: PackageResources.read_lease_lua
            case .left: PackageResources.left_lua
            case .name: PackageResources.name_lua
            case .publish: PackageResources.publish_lua
            case .heard: PackageResources.heard_lua
            case .awaited: PackageResources.awaited_lua
            case .mark: PackageResources.mark_lua
            case .register: PackageResources.register_lua
            case .strike: PackageResources.strike_lua
            case .event: PackageResources.event_lua
            case .tell: PackageResources.tell_lua
            case .decide: PackageResources.decide_lua
            case .lapse: PackageResources.lapse_lua
            case .canceled: PackageResources.canceled_lua
            }
        }
    }

    private static func script(
        _ functions: [Function],
        _ body: [UInt8],
        flags: String? = "allow-oom"
    ) -> RedisScript {
        let head = "#!lua" + (flags.map { " flags=\($0)" } ?? "") + "\n"
        let functions = functions.map { code(of: $0.source) }.joined()
        // Without the file's last newline, as earlier versions sent it: then all of them have one hash, and one copy in
        // the server.
        return RedisScript(head + functions + code(of: body).dropLast())
    }

    /// A file's text without the comment at its beginning, which the server need not keep.
    private static func code(of source: [UInt8]) -> Substring {
        var text = String(decoding: source, as: UTF8.self)[...]
        while text.hasPrefix("--") { text = text.drop { !$0.isNewline }.dropFirst() }
        return text
    }
}
