import SingleflightRedis

/// One thing that was looked at, and what to think of it.
package struct Finding: Codable, Equatable, Sendable {
    /// How bad it is; in the order of severity.
    package enum Status: String, Codable, Comparable, Sendable {
        case skipped
        case ok
        case warn
        case fail

        package static func < (left: Status, right: Status) -> Bool { left.severity < right.severity }

        private var severity: Int {
            switch self {
            case .skipped: 0
            case .ok: 1
            case .warn: 2
            case .fail: 3
            }
        }
    }

    /// What was looked at, in a word or two that stay the same.
    package let check: String
    package let status: Status
    /// What was found.
    package let found: String
    /// What that means for leases.
    package let meaning: String
    /// What to do; nil if there is nothing to be done.
    package let advice: String?
}

extension Finding {
    static func ok(_ check: String, _ found: String, _ meaning: String) -> Finding {
        Finding(check: check, status: .ok, found: found, meaning: meaning, advice: nil)
    }

    static func warn(_ check: String, _ found: String, _ meaning: String, do advice: String) -> Finding {
        Finding(check: check, status: .warn, found: found, meaning: meaning, advice: advice)
    }

    static func fail(_ check: String, _ found: String, _ meaning: String, do advice: String) -> Finding {
        Finding(check: check, status: .fail, found: found, meaning: meaning, advice: advice)
    }

    /// Something else is in the way; what that is stands elsewhere.
    static func notTried(_ check: String) -> Finding {
        Finding(
            check: check,
            status: .skipped,
            found: "not tried",
            meaning: "What failed elsewhere is in the way.",
            advice: "Repair what failed first."
        )
    }

    /// How a finding begins that a user with more rights would be told.
    static let notKnown = "not known"

    /// The server does not tell this user.
    static func skipped(_ check: String, needs command: String) -> Finding {
        Finding(
            check: check,
            status: .skipped,
            found: "\(notKnown): needs \(command)",
            meaning: "The server does not tell this user.",
            advice: "Run doctor as an operator user, who may send \(command)."
        )
    }

    /// A setting that is not known: the server does not tell this user, or nobody.
    static func untold(_ check: String, _ facts: RedisFacts, needs command: String = "CONFIG GET") -> Finding {
        guard facts.dispensableCommands["CONFIG"] != nil else { return .skipped(check, needs: command) }
        return Finding(
            check: check,
            status: .skipped,
            found: "not told: the server has no CONFIG",
            meaning: "Only those who run the server know.",
            advice: "Compare what they say with the settings in docs/deploy.md."
        )
    }
}
