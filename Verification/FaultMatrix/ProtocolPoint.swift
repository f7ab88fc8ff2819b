import FaultProxy
import SingleflightRedis

/// A moment of a flight at which something can go wrong: a request of the protocol, or an announcement.
package enum ProtocolPoint: String, Sendable, CaseIterable {
    case acquire, enter, renew, complete, release, poll, leave, fence, subscribe, announcement

    /// Which of a cell's two processes sends or gets it.
    var victim: ProcessPart {
        switch self {
        case .acquire, .renew, .complete, .release, .fence: .leader
        case .enter, .poll, .leave, .subscribe, .announcement: .follower
        }
    }

    /// What a command is called: a point's name, if it is one.
    static func name(of frame: RESPFrame) -> String {
        switch frame.words.first {
        case "SET": ProtocolPoint.acquire.rawValue
        case "SUBSCRIBE" where frame.isOfSentinel: ""
        case "SUBSCRIBE": ProtocolPoint.subscribe.rawValue
        case "EVALSHA", "EVAL": frame.words.dropFirst().first.flatMap { Self.scripts[$0] } ?? ""
        default: ""
        }
    }

    /// By hash and by source, also of what servers before 7.0 are sent.
    private static let scripts: [String: String] = Dictionary(
        LeaseScripts.named.flatMap { name, _, source in
            let script = RedisScript(source)
            return [script.body, script.legacyBody].compactMap(\.self).flatMap { [($0.hash, name), ($0.source, name)] }
        },
        uniquingKeysWith: { first, _ in first }
    )
}

/// What a process was meant to be in its flight when it began.
package enum ProcessPart: String, Sendable, Codable {
    case leader, follower
}
