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

/// Reads what a group stored with whichever codec: for tools that follow flights of groups which they do not know.
package struct StoredPayloadCodec: FlightCodec {
    /// A tool leads no flight.
    package struct ReadsOnly: Error {}

    package init() {}

    package var identifier: String { "stored/1" }

    package var isQuick: Bool { true }

    package func encode(_ value: StoredPayload) throws -> [UInt8] { throw ReadsOnly() }

    /// - Parameter bytes: the whole payload.
    package func decode(_ bytes: [UInt8]) throws -> StoredPayload {
        guard let payload = StoredPayload(bytes: bytes) else {
            throw DistributedGroupError(.decodingFailed, "the outcome was not written by this kind of program")
        }
        return payload
    }
}
