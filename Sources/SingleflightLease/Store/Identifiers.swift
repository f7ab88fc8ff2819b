/// 128 random bits, written as 32 lowercase hexadecimal digits.
///
/// The common form of ``LeaseToken`` and ``InboxID``, which are different types so that one is never taken for the
/// other.
struct RandomBits: Hashable, Sendable {
    var high: UInt64
    var low: UInt64

    init(using generator: inout some RandomNumberGenerator) {
        self.high = generator.next()
        self.low = generator.next()
    }

    /// Reads exactly 32 lowercase hexadecimal digits.
    init?(hexadecimal text: some Collection<UInt8>) {
        guard text.count == 32 else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        for (index, digit) in text.enumerated() {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
            default: return nil
            }
            if index < 16 {
                words.0 = words.0 << 4 | UInt64(value)
            } else {
                words.1 = words.1 << 4 | UInt64(value)
            }
        }
        (self.high, self.low) = words
    }

    var hexadecimal: String {
        String(unsafeUninitializedCapacity: 32) { buffer in
            for index in 0..<32 {
                let word = index < 16 ? self.high : self.low
                let digit = UInt8(truncatingIfNeeded: word >> UInt64((15 - index % 16) * 4)) & 0xF
                buffer[index] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
            }
            return 32
        }
    }
}

/// Names one flight across processes, and proves the right to lead it.
///
/// A token is random and made before it is sent, so that every request under it can be repeated after a lost reply.
public struct LeaseToken: Hashable, Sendable, CustomStringConvertible {
    private let bits: RandomBits

    /// Draws a token. Production code draws from the system's generator; two tokens are then never equal.
    public init(using generator: inout some RandomNumberGenerator) {
        self.bits = RandomBits(using: &generator)
    }

    /// Reads a token from its 32 hexadecimal digits; `nil` for any other text.
    public init?(_ text: some StringProtocol) {
        guard let bits = RandomBits(hexadecimal: Array(text.utf8)) else { return nil }
        self.bits = bits
    }

    /// Reads a token from the bytes of its 32 hexadecimal digits; `nil` for anything else.
    public init?(bytes: some Collection<UInt8>) {
        guard let bits = RandomBits(hexadecimal: bytes) else { return nil }
        self.bits = bits
    }

    /// 32 lowercase hexadecimal digits.
    public var description: String { self.bits.hexadecimal }

    /// The same 128 bits as two numbers, for those who write them without a string in between.
    package var words: (high: UInt64, low: UInt64) { (self.bits.high, self.bits.low) }
}

/// Names a process's inbox: the channel on which it hears of outcomes.
public struct InboxID: Hashable, Sendable, CustomStringConvertible {
    private let bits: RandomBits

    /// Draws an inbox name.
    public init(using generator: inout some RandomNumberGenerator) {
        self.bits = RandomBits(using: &generator)
    }

    /// Reads an inbox name from its 32 hexadecimal digits; `nil` for any other text.
    public init?(_ text: some StringProtocol) {
        guard let bits = RandomBits(hexadecimal: Array(text.utf8)) else { return nil }
        self.bits = bits
    }

    /// 32 lowercase hexadecimal digits.
    public var description: String { self.bits.hexadecimal }

    /// The same 128 bits as two numbers, for those who write them without a string in between.
    package var words: (high: UInt64, low: UInt64) { (self.bits.high, self.bits.low) }
}

/// A fencing token: of two fences of a key, the one drawn under the later lease is greater.
///
/// Hand it to whatever must not be written twice, and let that refuse a fence lower than the greatest it has seen.
public struct Fence: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number; at least the store's time in microseconds when it was drawn.
    public let rawValue: UInt64

    /// Wraps a number that a store answered.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// Whether `lhs` was drawn before `rhs`.
    public static func < (lhs: Fence, rhs: Fence) -> Bool {
        lhs.rawValue < rhs.rawValue
    }

    /// The number in decimal.
    public var description: String { String(self.rawValue) }
}
