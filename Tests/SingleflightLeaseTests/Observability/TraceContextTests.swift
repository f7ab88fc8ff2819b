import Testing

@testable import SingleflightLease

@Suite("Trace contexts on their way")
struct TraceContextTests {
    private func context(_ fields: KeyValuePairs<String, String>) -> TraceContext {
        var context = TraceContext()
        for (name, value) in fields { context.set(name, to: value) }
        return context
    }

    private static let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    @Test("what W3C and B3 write is kept")
    func kept() {
        let fields = ["traceparent": Self.parent, "tracestate": "a=1,b=2", "X-B3-TraceId": "0af7651916cd43dd"]
        var context = TraceContext()
        for (name, value) in fields { context.set(name, to: value) }
        #expect(context.fields == fields)
    }

    @Test(
        "what could do harm where it is stored and shown is dropped",
        arguments: [
            ("", "value"), ("na me", "value"), ("name\n", "value"), (String(repeating: "n", count: 65), "value"),
            ("name", ""), ("name", "a\u{1B}[2J"), ("name", "a\nb"), ("name", "größe"),
            ("name", String(repeating: "v", count: 256)), ("baggage", "secret=1"), ("Baggage", "secret=1"),
        ]
    )
    func dropped(_ name: String, _ value: String) {
        #expect(self.context([name: value] as KeyValuePairs).isEmpty)
    }

    @Test("there are at most eight fields, and 1024 bytes")
    func limits() {
        var many = TraceContext()
        for index in 0..<20 { many.set("field\(index)", to: "value") }
        #expect(many.fields.count == 8)
        var long = TraceContext()
        for index in 0..<8 { long.set("field\(index)", to: String(repeating: "v", count: 255)) }
        #expect(long.fields.count == 3)
    }

    @Test("an envelope carries it, and one without is written as before")
    func envelope() throws {
        let trace = self.context(["traceparent": Self.parent, "tracestate": "a=1"])
        let with = Envelope(codec: "json/1", leader: "host:1", trace: trace, body: [1, 2, 3])
        #expect(try Envelope(bytes: with.bytes) == with)
        #expect(with.bytes[2] == 2)
        let without = Envelope(codec: "json/1", leader: "host:1", body: [1, 2, 3])
        #expect(try Envelope(bytes: without.bytes) == without)
        #expect(without.bytes == Array("SF\u{1}\u{6}json/1\u{6}host:1\u{1}\u{2}\u{3}".utf8))
    }

    @Test("an envelope that ends within its trace is truncated, wherever it ends")
    func truncated() throws {
        let trace = self.context(["traceparent": Self.parent])
        let bytes = Envelope(codec: "json/1", leader: "host:1", trace: trace, body: []).bytes
        for count in 0..<bytes.count {
            #expect(throws: DistributedGroupError.self) { try Envelope(bytes: Array(bytes.prefix(count))) }
        }
    }

    @Test("fields that no tracer here would write are not believed when they are read")
    func hostile() throws {
        var bytes = Array("SF\u{2}\u{1}c\u{1}l".utf8)
        bytes.append(3)
        for (name, value) in [("baggage", "secret"), ("esc", "\u{1B}[2J"), ("traceparent", Self.parent)] {
            bytes.append(shortText: name)
            bytes.append(shortText: value)
        }
        #expect(try Envelope(bytes: bytes).trace?.fields == ["traceparent": Self.parent])
    }
}
