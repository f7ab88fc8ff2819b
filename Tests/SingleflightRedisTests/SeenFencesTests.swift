import SingleflightLease
import Testing

@testable import SingleflightRedis

@Suite("The fences that a process was given")
struct SeenFencesTests {
    @Test("the greatest of a partition counts, in whatever order the answers come, and no other partition's")
    func greatest() {
        let seen = SeenFences()
        #expect(seen.greatest(of: 7) == Fence(rawValue: 0))
        for number: UInt64 in [5, 9, 3] { seen.saw(Fence(rawValue: number), of: 7) }
        seen.saw(Fence(rawValue: 20), of: 8)
        #expect(seen.greatest(of: 7) == Fence(rawValue: 9))
    }
}
