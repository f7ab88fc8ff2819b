/// Says which planted bug is on. Copied beside the sources by scripts/check-mutants, into its own copy only.
package enum Mutant {
    // Set once, before anything runs.
    nonisolated(unsafe) package static var planted = ""

    package static func isPlanted(_ name: String) -> Bool {
        self.planted == name
    }
}
