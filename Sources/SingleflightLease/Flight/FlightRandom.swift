/// Where a flight draws its tokens and jitters from: the system, or a seed that makes a run repeatable.
package enum FlightRandom: RandomNumberGenerator, Sendable {
    case system
    /// The state of a SplitMix64 generator (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
    case seeded(UInt64)

    package mutating func next() -> UInt64 {
        switch self {
        case .system:
            var generator = SystemRandomNumberGenerator()
            return generator.next()
        case .seeded(let state):
            let next = state &+ 0x9E37_79B9_7F4A_7C15
            self = .seeded(next)
            var mixed = next
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }
}
