/// A value of any group.
package struct ErasedValue: Sendable {
    private let base: any Sendable

    package init(_ value: some Sendable) {
        self.base = value
    }

    /// The value, to the group that it is of.
    package func value<Value: Sendable>(as type: Value.Type = Value.self) throws(DistributedGroupError) -> Value {
        guard let value = self.base as? Value else {
            // A group gets what its own operations returned and its own codec read.
            throw DistributedGroupError(.decodingFailed, "a value of another type than \(type)")
        }
        return value
    }
}

/// The codec of any group.
package struct ErasedCodec: FlightCodec {
    package let identifier: String
    package let isQuick: Bool
    /// Whether it decodes payloads of every codec, as a whole.
    let readsPayloads: Bool
    private let encoding: @Sendable (ErasedValue) throws -> [UInt8]
    private let decoding: @Sendable ([UInt8]) throws -> ErasedValue

    package init<Value>(_ codec: some FlightCodec<Value>) {
        self.identifier = codec.identifier
        self.isQuick = codec.isQuick
        self.readsPayloads = codec is StoredPayloadCodec
        self.encoding = { try codec.encode($0.value(as: Value.self)) }
        self.decoding = { ErasedValue(try codec.decode($0)) }
    }

    package func encode(_ value: ErasedValue) throws -> [UInt8] { try self.encoding(value) }

    package func decode(_ bytes: [UInt8]) throws -> ErasedValue { try self.decoding(bytes) }
}
