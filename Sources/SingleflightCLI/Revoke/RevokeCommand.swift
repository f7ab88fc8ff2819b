import ArgumentParser
import Foundation
import SingleflightRedis

struct RevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "End the flight of a key: its leader's work is canceled, and who waits is told.",
        discussion: HelpText.flowing(
            """
            Asks before it does so; a script says --yes. The next call for the key starts afresh. With --group it also
            removes a value that is no lease from where the lease should be.

            Examples:
              singleflight revoke front-page
              singleflight revoke nightly-report --group exec --yes --reason 'wrong database'
              singleflight revoke front-page --token 3f9c2a17 --yes --output json

            Exit status: 0 ended, 1 not confirmed, 2 nobody leads the key (or not under that token), 64 usage,
            69 Redis unreachable, 77 refused.
            """
        )
    )

    @Argument(help: "The key.")
    var key: String

    @Option(help: "The group it belongs to, where several know such a key.")
    var group: String?

    @Option(help: "End the flight only if this is its token, or how its token begins.")
    var token: String?

    @Option(help: "What the leader and those who wait are told.")
    var reason = ""

    @Flag(help: "Do not ask.")
    var yes = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let group { try GroupName.validate(group) }
        if let token {
            guard (4...32).contains(token.utf8.count), token.allSatisfy(\.isHexDigit) else {
                throw ValidationError("a token is 32 hexadecimal digits, or 4 and more of its first ones")
            }
        }
        guard reason.utf8.count <= 1000 else { throw ValidationError("--reason has more than 1000 bytes") }
        guard yes || isatty(STDIN_FILENO) == 1 else {
            throw ValidationError("there is nobody to ask: standard input is no terminal, and --yes is missing")
        }
    }

    func run() async throws {
        // People who watch are to see the flight end.
        try await connection.withStore(publishesEvents: true) { store in
            let found: FlightLookup.Found
            do {
                found = try await FlightLookup(store: store).flight(of: key, in: group)
            } catch let error as LeaseStoreError where error.code == .protocolViolation {
                guard let group, token == nil else { throw error }
                return try await removeForeign(from: store, group, because: error)
            }
            if let token, !found.lease.token.description.hasPrefix(token.lowercased()) {
                throw CommandFailure(
                    "\(ShellWord.quoted(key)) is led under another token: \(found.lease.token)",
                    status: .notFound
                )
            }
            if !yes { try confirm(found) }
            let request = RevokeRequest(ending: found.lease, of: found.key, reason: reason)
            let reply = try await store.answer(to: request).get()
            guard case .revoked(let token, let waiters) = reply else {
                throw CommandFailure("\(ShellWord.quoted(key)) ended by itself meanwhile", status: .notFound)
            }
            try report(
                Revocation(
                    key: key,
                    group: found.key.group,
                    token: token.description,
                    leader: found.lease.note.label,
                    waiters: waiters,
                    by: request.by,
                    reason: reason
                )
            )
        }
    }

    /// The place of the lease holds something else: those who name the key exactly may remove that.
    private func removeForeign(
        from store: RedisLeaseStore,
        _ group: String,
        because error: LeaseStoreError
    ) async throws {
        let key = try FlightKey(group: group, bytes: ByteText.bytes(self.key))
        if !yes {
            try StandardStream.error.write("\(error.message). Remove it? [y/N] ")
            try answerIsYes()
        }
        let reply = try await store.answer(to: RevokeRequest(key: key, token: nil, by: RunLabel.user, reason: reason))
            .get()
        guard case .removedForeign = reply else {
            throw CommandFailure(
                "\(ShellWord.quoted(self.key)) is led meanwhile, and was left as it is",
                status: .notFound
            )
        }
        ErrorLine.note("removed what was no lease of \(ShellWord.quoted(self.key)) of group \(group)")
    }

    private func answerIsYes() throws {
        let answer = readLine()?.trimmingCharacters(in: .whitespaces).lowercased() ?? ""
        guard ["y", "yes"].contains(answer) else { throw CommandFailure("nothing was ended") }
    }

    private func confirm(_ found: FlightLookup.Found) throws {
        let terminal = output.color.terminal(.error)
        let age = terminal.duration(found.lease.note.age)
        try StandardStream.error.write(
            "End \(terminal.safe(ShellWord.quoted(key))) of group \(found.key.group), led by \(terminal.safe(found.lease.note.label)) "
                + "for \(age), \(LeaseRendering.processes(found.waiters)) waiting? [y/N] "
        )
        try answerIsYes()
    }

    private func report(_ revocation: Revocation) throws {
        let text: String
        switch output.output {
        case .table:
            let terminal = output.color.terminal(.output)
            text = """
                ended \(terminal.safe(ShellWord.quoted(revocation.key))) of group \(revocation.group), token \(revocation.token.prefix(8)): \
                told its leader \(terminal.safe(revocation.leader)) and \(LeaseRendering.processes(revocation.waiters)) that waited

                """
        case .json: text = try JSONText.document(revocation)
        case .ndjson: text = try JSONText.lines([revocation])
        }
        try StandardStream.output.write(text)
    }
}

/// What was ended, as JSON.
private struct Revocation: Codable {
    let key: String
    let group: String
    let token: String
    let leader: String
    /// The processes that waited and were told.
    let waiters: Int
    let by: String
    let reason: String
}
