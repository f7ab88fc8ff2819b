import Foundation
import PrivateRedis
import TestSupport
import Testing

/// The programs that `exec` is compared with.
enum CommandPrefixes {
    static var areInstalled: Bool {
        ["timeout", "flock"].allSatisfy { FileManager.default.isExecutableFile(atPath: "/usr/bin/\($0)") }
    }
}

extension ProcessSuites {
    /// Whatever a command does when nothing stands in front of it, it does behind `exec` as well, as behind `timeout`
    /// and `flock`. Each case is a script for `bash` (`dash` cannot ignore SIGCHLD) that runs `"$@" COMMAND`.
    @Suite("exec is as transparent as timeout and flock", .enabled(if: CommandPrefixes.areInstalled))
    struct ExecTransparencyTests {
        enum Prefix: String, CaseIterable { case timeout, flock, exec }

        struct Case: CustomTestStringConvertible, Sendable {
            let testDescription: String
            /// Those that behave otherwise are left out: what they do is not what is wanted here.
            let prefixes: [Prefix]
            let script: String

            init(_ name: String, _ prefixes: [Prefix], _ script: String) {
                (testDescription, self.prefixes, self.script) = (name, prefixes, script)
            }

            init(_ name: String, _ script: String) { self.init(name, Prefix.allCases, script) }
        }

        /// `"$@" words`, in front of which stands what starts the command.
        static func words(_ prefix: Prefix, _ stage: ExecStage, key: String = "job") throws -> [String] {
            switch prefix {
            case .timeout: ["/usr/bin/timeout", "600"]
            case .flock: ["/usr/bin/flock", "\(stage.directory)/\(key)"]
            case .exec: [try Tool.path, "exec", key, "--"]
            }
        }

        static let cases = [
            Case("arguments", #""$@" printf '[%s]' 'a  b' '' '$HOME' '*' --flag"#),
            Case("bytes in arguments", #""$@" printf '[%s]' "$(printf 'a\377\200')""#),
            Case(
                "bytes in the environment",
                #"env "$(printf 'ODD=\377')" not.a.name=1 "$@" env | grep -a -E '^(ODD|not)'"#
            ),
            Case("binary output", #""$@" printf '\000\377\012\200\015'"#),
            Case("standard input", #"printf 'one\ntwo' | "$@" cat"#),
            Case("both streams", #""$@" sh -c 'echo out; echo problem >&2'"#),
            Case(
                "the order of two streams in one",
                #""$@" sh -c 'for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done' 2>&1"#
            ),
            Case("the folder", #"cd /usr && "$@" pwd"#),
            Case("the umask", #"umask 027; "$@" sh -c umask"#),
            Case("limits", #"ulimit -n 900; ulimit -c 0; ulimit -t 900; "$@" sh -c 'ulimit -n; ulimit -c; ulimit -t'"#),
            Case("niceness", #"nice -n 3 "$@" nice"#),
            Case("ignored signals", [.flock, .exec], #"trap '' HUP USR1 QUIT; "$@" grep SigIgn /proc/self/status"#),
            Case(
                "ignored signals that we need",
                [.exec],
                #"trap '' CHLD CONT; exec "$@" grep SigIgn /proc/self/status"#
            ),
            Case("the status where SIGCHLD is ignored", [.timeout, .exec], #"trap '' CHLD; exec "$@" sh -c 'exit 7'"#),
            Case(
                "no command where SIGCHLD is ignored",
                [.timeout, .exec],
                #"trap '' CHLD; exec "$@" /no/such 2> /dev/null"#
            ),
            Case("blocked signals", #""$@" grep SigBlk /proc/self/status"#),
            Case("descriptors", [.timeout, .exec], #"exec 7< /dev/null 9> /dev/null; "$@" ls /proc/self/fd"#),
            Case("a descriptor that was opened before", #"exec 7<<A"# + "\nhere\nA\n" + #""$@" sh -c 'cat <&7'"#),
            Case("standard output is closed", #"exec "$@" sh -c 'echo lost; exit 5' >&- 2> /dev/null"#),
            Case("standard error is closed", #"exec "$@" sh -c 'echo out; exit 6' 2>&-"#),
            Case("standard input is closed", #"exec "$@" sh -c 'exit 8' <&-"#),
            Case(
                "death by a signal",
                #"for s in TERM KILL HUP ABRT; do "$@" sh -c "kill -$s \$\$"; echo $?; done 2> /dev/null"#
            ),
            Case(
                "a script without #!",
                #"d=$(mktemp -d); trap 'rm -rf "$d"' EXIT; cd "$d"; printf 'echo "got $1"; exit 5' > s; chmod +x s; "#
                    + #"PATH=.:$PATH; "$@" s it; echo $?; "$@" ./s it"#
            ),
            Case(
                "what is no program",
                [.exec],
                #"exec 2> /dev/null; d=$(mktemp -d); trap 'rm -rf "$d"' EXIT; cd "$d"; printf '\177ELX\0' > b; : > e; chmod +x b e; "#
                    + #""$@" ./b; echo $?; "$@" ./e; echo $?; "$@" /usr; echo $?; "$@" ./none"#
            ),
        ]

        @Test(arguments: cases)
        func same(_ transparency: Case) async throws {
            try await ExecStage.with { stage in
                let plain = try await run([], transparency.script, stage)
                for prefix in transparency.prefixes {
                    let result = try await run(try Self.words(prefix, stage), transparency.script, stage)
                    #expect(result == plain, "\(prefix)")
                }
            }
        }

        private func run(_ words: [String], _ script: String, _ stage: ExecStage) async throws -> [String] {
            let script = "set -- \"$@\"; \(script)"
            let result = try await stage.start(program: "/bin/bash", ["-c", script, "bash"] + words).result
            return [
                "\(result.status)", result.output.map { "\($0)" }.joined(separator: " "),
                Self.withoutInternalSignals(result.text), result.messages,
            ].enumerated().filter { !(result.text.contains("SigIgn") && $0.offset == 1) }.map(\.element)
        }

        /// The C library keeps two signals for itself and ignores them in what it starts.
        private static func withoutInternalSignals(_ text: String) -> String {
            guard text.hasPrefix("SigIgn:"), let mask = UInt64(text.suffix(17).dropLast(), radix: 16) else {
                return text
            }
            return String(mask & ~(3 << 31), radix: 16)
        }

        @Test("what the command leaves behind lives on, and is not waited for", arguments: Prefix.allCases)
        func orphans(_ prefix: Prefix) async throws {
            try await ExecStage.with { stage in
                let go = try stage.fifo("go")
                let daemon = "read word < \(go.path); echo \"$word\" > \(stage.directory)/mark"
                let script = "(\(daemon)) > /dev/null 2>&1 & echo over"
                let words = try Self.words(prefix, stage) + ["sh", "-c", script]
                let result = try await stage.start(program: words[0], Array(words.dropFirst())).result
                #expect((result.status, result.text) == (0, "over\n"))
                try await go.write("alive\n")
                try await stage.untilFile("mark", holds: "alive\n")
            }
        }

        @Test("one runs inside of the other", arguments: Prefix.allCases)
        func nested(_ prefix: Prefix) async throws {
            try await ExecStage.with { stage in
                let words = try Self.words(prefix, stage) + Self.words(prefix, stage, key: "inner")
                let script = "cat; echo deep; exit 3"
                let result = try await stage.start(program: words[0], Array(words.dropFirst()) + ["sh", "-c", script])
                    .result
                #expect((result.status, result.text, result.messages) == (3, "deep\n", ""))
            }
        }

        @Test("the command has the terminal as its input", arguments: Prefix.allCases)
        func terminal(_ prefix: Prefix) async throws {
            try await ExecStage.with { stage in
                let words = try Self.words(prefix, stage)
                let pty = try Pty(
                    Array(words.dropFirst()) + ["sh", "-c", "test -t 0 && echo at a terminal; exit 4"],
                    executable: words[0],
                    environment: ["SINGLEFLIGHT_URL": stage.redis.url]
                )
                #expect(await pty.exit() == 4)
                #expect(pty.output == "at a terminal\r\n")
            }
        }

        @Test("a signal to the one in front reaches the command", arguments: [Prefix.timeout, .exec])
        func signals(_ prefix: Prefix) async throws {
            try await ExecStage.with { stage in
                let up = try stage.fifo("up")
                let script = "trap 'exit 33' TERM; echo up > \(up.path); while :; do sleep 0.01; done"
                let words = try Self.words(prefix, stage) + ["sh", "-c", script]
                let process = try stage.start(program: words[0], Array(words.dropFirst()))
                #expect(try await up.read() == "up\n")
                #if os(Linux)
                    // `timeout` forks, and takes a signal that comes before the fork has returned to it for its own end.
                    try await until("the one in front waits") { try processState(of: "\(process.id)") == "S" }
                #endif
                process.signal(SIGTERM)
                let result = try await process.result
                #expect(result.status == 33)
            }
        }
    }
}

/// 256 runs, for which a busy machine is given its time.
@Suite("exec's statuses", .usesServer, .timeLimit(.minutes(10)))
struct ExecStatusTests {
    @Test("every exit status is passed on")
    func statuses() async throws {
        try await ExecStage.with { stage in
            let tool = try Tool.path
            let parts = try (0..<4).map { part in
                let run = "'\(tool)' exec $s -- sh -c \"exit $s\""
                let loop = "for s in $(seq \(part * 64) \(part * 64 + 63)); do \(run); echo $?; done"
                return try stage.start(program: "/bin/sh", ["-c", loop])
            }
            let statuses = try await results(of: parts).flatMap { $0.text.split(separator: "\n").map { Int($0) } }
            #expect(statuses == Array(0...255))
        }
    }
}
