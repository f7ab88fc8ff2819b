/// Commands of one order are carried out in the sequence in which they were submitted, also where one of them must be
/// sent again; those of different ones mostly, too.
package struct RedisOrder: Hashable, Sendable {
    private let number: UInt32

    /// Of no order with any other.
    package static let none = RedisOrder(number: 0)

    private init(number: UInt32) {
        self.number = number
    }

    /// The order of everything with this number: the hash of a key, for example.
    package init(_ number: UInt16) {
        self.number = UInt32(number) + 1
    }
}
