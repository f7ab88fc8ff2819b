/// Commands of one order are carried out in the sequence in which they were submitted, also where one of them must be
/// sent again; those of different ones mostly, too. On a cluster it also says where the commands belong.
package struct RedisOrder: Hashable, Sendable {
    private let number: UInt32
    /// Where the keys of the commands lie; `nil` for commands without keys, which any node can answer.
    package let slot: HashSlot?

    /// Of no order with any other.
    package static let none = RedisOrder(number: 0, slot: nil)

    /// Of no order with any other, about keys in this slot.
    package static func none(in slot: HashSlot) -> RedisOrder { RedisOrder(number: 0, slot: slot) }

    private init(number: UInt32, slot: HashSlot?) {
        self.number = number
        self.slot = slot
    }

    /// The order of everything with this number: the hash of a key, for example.
    package init(_ number: UInt16, in slot: HashSlot? = nil) {
        self.init(number: UInt32(number) + 1, slot: slot)
    }

    /// Whether there is any order at all.
    var isKept: Bool { number != 0 }
}
