import Testing

@testable import SingleflightLease

@Suite("A short list")
struct ShortListTests {
    @Test("it keeps the order of its elements, in place and beyond", arguments: 0..<10)
    func order(_ count: Int) {
        var list: ShortList<Int> = []
        for element in 0..<count { list.append(element) }
        #expect(Array(list) == Array(0..<count))
        #expect(list.count == count)
        #expect(list.isEmpty == (count == 0))
        #expect(list.last == (count == 0 ? nil : count - 1))
    }

    @Test("a literal is the list of its elements")
    func literal() {
        #expect(Array([1, 2, 3] as ShortList<Int>) == [1, 2, 3])
        #expect(Array([1, 2, 3, 4, 5, 6] as ShortList<Int>) == [1, 2, 3, 4, 5, 6])
        #expect(Array(ShortList(1)) == [1])
        #expect(Array(ShortList(1, 2)) == [1, 2])
    }

    @Test("a sum has the elements of both, the left ones first", arguments: 0..<6, 0..<6)
    func sum(_ left: Int, _ right: Int) {
        var (first, second): (ShortList<Int>, ShortList<Int>) = ([], [])
        for element in 0..<left { first.append(element) }
        for element in left..<left + right { second.append(element) }
        #expect(Array(first + second) == Array(0..<left + right))
    }
}
