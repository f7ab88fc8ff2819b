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
