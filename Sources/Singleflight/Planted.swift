/// Named points at which the code can be made to do the wrong thing, to see that the simulation notices.
///
/// A point is `false`, and compiled away, unless the modules are built with `-D PLANTED_BUGS`. The bugs are listed in
/// Verification/Mutants/bugs.txt; docs/reliability.md tells how each is caught.
package enum Planted {
    #if PLANTED_BUGS
        // Unsafe, as a lock would slow down each of the points, and safe: it is written once, before the first
        // simulation begins, and only read from then on.
        nonisolated(unsafe) private static var name = ""

        /// Whether the bug of this name is on.
        package static func bug(_ name: String) -> Bool { self.name == name }

        /// Turns on the bug of this name, and off the one before. Answers whether this build has bugs at all.
        package static func turnOn(_ name: String) -> Bool {
            self.name = name
            return true
        }
    #else
        /// False.
        @inlinable
        @inline(__always)
        package static func bug(_ name: StaticString) -> Bool { false }

        /// Answers false: this build has no bugs that can be turned on.
        package static func turnOn(_ name: String) -> Bool { false }
    #endif
}
