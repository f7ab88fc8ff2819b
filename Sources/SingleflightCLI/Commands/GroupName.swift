import ArgumentParser
import SingleflightRedis

/// The rule for the names of groups, as an option's value.
enum GroupName {
    static func validate(_ name: String) throws {
        guard FlightKey.isName(name) else {
            throw ValidationError("a group is 1 to 64 of A-Z a-z 0-9 . _ - (not '\(name)')")
        }
    }
}
