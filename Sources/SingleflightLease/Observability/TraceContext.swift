package import Tracing

/// A span's identity on its way to other processes: the few short fields that a tracer writes, W3C's `traceparent` for
/// instance.
///
/// It is stored where others read it, so it takes no more than it must: at most 8 fields, whose names are 1 to 64 of
/// `A-Za-z0-9._-`, whose values are 1 to 255 printable ASCII characters, in all at most 1024 bytes. Anything else is
/// dropped, and so is `baggage`: a link needs none, and it may hold what must not be stored.
public struct TraceContext: Hashable, Sendable {
    /// The fields by name.
    public private(set) var fields: [String: String] = [:]

    static let maximumFields = 8
    private static let maximumBytes = 1024

    /// Creates an empty context.
    public init() {}

    /// Whether there is nothing to send.
    public var isEmpty: Bool { self.fields.isEmpty }

    /// Sets a field. One that must not be stored is dropped.
    public mutating func set(_ name: String, to value: String) {
        guard Self.isName(name), Self.isValue(value), name.lowercased() != "baggage" else { return }
        var fields = self.fields
        fields[name] = value
        let bytes = fields.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        guard fields.count <= Self.maximumFields, bytes <= Self.maximumBytes else { return }
        self.fields = fields
    }

    private static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
                case UInt8(ascii: "0")...UInt8(ascii: "9"): true
                case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
                default: false
                }
            }
    }

    private static func isValue(_ value: String) -> Bool {
        (1...Envelope.maximumNameBytes).contains(value.utf8.count)
            && value.utf8.allSatisfy { (0x20...0x7E).contains($0) }
    }
}

extension TraceContext {
    /// What `instrument` wants to send along with `context`; `nil` if that is nothing.
    package init?(_ context: ServiceContext, by instrument: some Instrument) {
        self.init()
        instrument.inject(context, into: &self, using: Fields())
        if self.isEmpty { return nil }
    }

    /// The span that the fields stand for, as far as `instrument` can read them.
    package func serviceContext(by instrument: some Instrument) -> ServiceContext {
        var context = ServiceContext.topLevel
        instrument.extract(self, into: &context, using: Fields())
        return context
    }

    private struct Fields: Injector, Extractor {
        func inject(_ value: String, forKey key: String, into carrier: inout TraceContext) {
            carrier.set(key, to: value)
        }

        func extract(key: String, from carrier: TraceContext) -> String? {
            carrier.fields[key]
        }
    }
}

extension TraceContext {
    /// The number of fields in one byte, then each field's name and value, each after its length in one byte.
    func append(to bytes: inout [UInt8]) {
        bytes.append(UInt8(self.fields.count))
        for (name, value) in self.fields.sorted(by: { $0.key < $1.key }) {
            bytes.append(shortText: name)
            bytes.append(shortText: value)
        }
    }

    /// `nil` where the bytes end too early.
    init?(_ reader: inout ByteReader) {
        guard let count = reader.byte() else { return nil }
        self.init()
        for _ in 0..<count {
            guard let name = reader.shortText(), let value = reader.shortText() else { return nil }
            self.set(name, to: value)
        }
    }
}
