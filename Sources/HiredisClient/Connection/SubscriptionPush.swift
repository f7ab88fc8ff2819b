/// What a server sends on a subscribed connection in RESP2.
enum SubscriptionPush: Hashable {
    case subscribed(channel: String)
    case message(channel: String, payload: [UInt8])
    case pong

    /// `nil` for anything else.
    init?(_ reply: RESPValue) {
        guard let elements = reply.array, let kind = elements.first?.string else { return nil }
        switch (kind, elements.count) {
        case ("subscribe", 3):
            guard let channel = elements[1].string else { return nil }
            self = .subscribed(channel: channel)
        case ("message", 3):
            guard let channel = elements[1].string, case .bulk(let payload) = elements[2] else { return nil }
            self = .message(channel: channel, payload: payload)
        case ("pong", _):
            self = .pong
        default:
            return nil
        }
    }
}

/// What a node of a cluster sends, in RESP2, on a connection that is subscribed to shard channels.
package enum ShardPush: Hashable, Sendable {
    /// The answer to SSUBSCRIBE.
    case subscribed(channel: String)
    case message(channel: String, payload: [UInt8])
    /// Nothing more is heard of the channel: its slot has moved to another node.
    case unsubscribed(channel: String)

    /// `nil` for anything else.
    init?(_ reply: RESPValue) {
        guard let elements = reply.array, elements.count == 3, let kind = elements[0].string,
            let channel = elements[1].string
        else { return nil }
        switch kind {
        case "ssubscribe":
            self = .subscribed(channel: channel)
        case "smessage":
            guard case .bulk(let payload) = elements[2] else { return nil }
            self = .message(channel: channel, payload: payload)
        case "sunsubscribe":
            self = .unsubscribed(channel: channel)
        default:
            return nil
        }
    }
}
