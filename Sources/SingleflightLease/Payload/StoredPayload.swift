/// The payload of a stored value or failure, taken apart for tools that do not know the group.
package struct StoredPayload: Hashable, Sendable {
    /// Names the codec of the body.
    package var codec: String
    /// The label of the process that led.
    package var leader: String
    /// The encoded value or failure.
    package var body: [UInt8]

    /// `nil` for bytes that this version did not write.
    package init?(bytes: [UInt8]) {
        guard let envelope = try? Envelope(bytes: bytes) else { return nil }
        self.codec = envelope.codec
        self.leader = envelope.leader
        self.body = envelope.body
    }

    /// The failure that the body tells of; `nil` if it is none.
    package func failure(of token: LeaseToken) -> RemoteFailure? {
        if self.codec == ReservedCodec.groupError {
            let lines = String(decoding: self.body, as: UTF8.self).split(separator: "\n", maxSplits: 1)
            guard let code = lines.first else { return nil }
            let message = lines.count > 1 ? String(lines[1]) : ""
            return RemoteFailure(type: String(code), message: message, leader: self.leader, token: token)
        }
        guard self.codec == ReservedCodec.failure, let body = FailureBody(bytes: self.body) else { return nil }
        return RemoteFailure(type: body.type, message: body.message, leader: self.leader, token: token)
    }
}
