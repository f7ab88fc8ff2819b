/// A value of a given number of bytes that begins with the moment at which it was handed over.
package enum StampedPayload {
    package static func make(bytes count: Int) -> [UInt8] {
        var payload = [UInt8](repeating: 0, count: max(count, 8))
        let time = UInt64(bitPattern: MonotonicTime.now.nanoseconds)
        for index in 0..<8 { payload[index] = UInt8(truncatingIfNeeded: time >> UInt64(index * 8)) }
        return payload
    }

    package static func time(of payload: [UInt8]) -> MonotonicTime {
        let time = payload.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return MonotonicTime(nanoseconds: Int64(bitPattern: time))
    }
}
