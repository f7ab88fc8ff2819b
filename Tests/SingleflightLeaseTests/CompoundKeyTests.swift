import Testing

@testable import SingleflightLease

@Suite("Keys of several parts, and of types of one's own")
struct CompoundKeyTests {
    private enum Region: String, FlightKeyConvertible {
        case north, south
    }

    @Test("parts stay apart whatever they hold")
    func apart() {
        let keys = [
            CompoundKey("a:b", "c"), CompoundKey("a", "b:c"), CompoundKey("a", "b", "c"), CompoundKey("a%3Ab", "c"),
            CompoundKey("", "a"), CompoundKey("a", ""), CompoundKey("a"),
        ]
        #expect(Set(keys).count == keys.count)
    }

    @Test("a key reads as its parts, of any types that can be keys")
    func readable() {
        #expect(CompoundKey("acme", 42, Region.north).description == "acme:42:north")
        #expect(CompoundKey("50 %: all").description == "50 %25%3A all")
    }

    @Test("a key inside a key stays one part")
    func nested() {
        #expect(CompoundKey(CompoundKey("a", "b"), "c") != CompoundKey("a", "b", "c"))
    }

    @Test("a raw value stands for its type")
    func rawValue() {
        #expect(Region.south.flightKeyBytes == Array("south".utf8))
    }
}
