/// A few elements in a row, the first four of them in place: what a transition usually comes to costs no allocation.
package struct ShortList<Element: Sendable>: Sendable, RandomAccessCollection, ExpressibleByArrayLiteral {
    private var inPlace: (Element?, Element?, Element?, Element?)
    private var others: [Element] = []
    package private(set) var count = 0

    /// Without the array of a literal, which is an allocation in a function whose frame is large: for what every flight
    /// comes to.
    package init(_ first: Element, _ second: Element? = nil) {
        self.inPlace.0 = first
        self.inPlace.1 = second
        self.count = second == nil ? 1 : 2
    }

    /// Inlined, so that the literal's own array is one on the stack where there is room.
    @inline(__always)
    package init(arrayLiteral elements: Element...) {
        self.count = elements.count
        self.inPlace.0 = self.count > 0 ? elements[0] : nil
        self.inPlace.1 = self.count > 1 ? elements[1] : nil
        self.inPlace.2 = self.count > 2 ? elements[2] : nil
        self.inPlace.3 = self.count > 3 ? elements[3] : nil
        // No slice of the literal: it could not stay on the stack.
        for index in Swift.min(4, self.count)..<self.count { self.others.append(elements[index]) }
    }

    package var startIndex: Int { 0 }
    package var endIndex: Int { self.count }

    package subscript(index: Int) -> Element {
        let element: Element? =
            switch index {
            case 0: self.inPlace.0
            case 1: self.inPlace.1
            case 2: self.inPlace.2
            case 3: self.inPlace.3
            default: self.others[index - 4]
            }
        guard let element else { preconditionFailure("an index past the end of a list") }
        return element
    }

    package mutating func append(_ element: Element) {
        switch self.count {
        case 0: self.inPlace.0 = element
        case 1: self.inPlace.1 = element
        case 2: self.inPlace.2 = element
        case 3: self.inPlace.3 = element
        default: self.others.append(element)
        }
        self.count += 1
    }

    package static func + (left: ShortList, right: ShortList) -> ShortList {
        var sum = left
        for element in right { sum.append(element) }
        return sum
    }
}
