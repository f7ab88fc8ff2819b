import HiredisClient

/// What managed servers, and servers that are only compatible, do not do.
enum Restriction: String, CaseIterable, Sendable {
    /// Scripts touch no key but those in KEYS (Dragonfly, and every server that spreads keys).
    case undeclaredKeys
    /// No flag of scripts that Redis knows, `#!lua flags=allow-oom` (Dragonfly, kvrocks).
    case scriptFlags
    case role, clientSetName, config, select
    /// TIME is answered in integers (Dragonfly).
    case integerTime
}

/// How a server refuses.
enum Refusing: String, CaseIterable, Sendable {
    /// As one that knows no such thing, in the words of Dragonfly and kvrocks.
    case asUnknown
    /// As one that lets this user do no such thing, or in the words that Redis has for it.
    case asForbidden

    func words(_ command: String) -> String {
        switch self {
        case .asUnknown: "ERR unknown command `\(command)`, with args beginning with: "
        case .asForbidden: "NOPERM this user has no permissions to run the '\(command.lowercased())' command"
        }
    }

    /// Of a server that takes this flag of a script for none.
    func words(flag: String) -> String {
        switch self {
        case .asUnknown: "ERR Invalid flag: \(flag)"
        case .asForbidden: "ERR \(flag) is not supported yet"
        }
    }
}

/// What becomes of a command on its way to a server that does everything.
struct Restrictions: Sendable {
    let refused: Set<Restriction>
    let refusing: Refusing
    /// The scripts that the server got, by the hashes of what was sent.
    private(set) var scripts: [String: RedisScript.Body] = [:]
    /// What has been refused, or seen to.
    private(set) var struck: Set<Restriction> = []

    init(_ refused: Set<Restriction>, _ refusing: Refusing) {
        self.refused = refused
        self.refusing = refusing
    }

    /// The command as the server is to get it: in its place one that is answered with the error, if it is refused.
    mutating func passed(_ words: [[UInt8]]) -> [[UInt8]] {
        let heads = words.prefix(2).map { String(decoding: $0, as: UTF8.self).uppercased() }
        switch (heads.first ?? "", heads.last ?? "") {
        case ("ROLE", _): return self.refusal(.role, "ROLE") ?? words
        case ("CLIENT", "SETNAME"): return self.refusal(.clientSetName, "CLIENT") ?? words
        case ("CONFIG", _): return self.refusal(.config, "CONFIG") ?? words
        case ("SELECT", _): return self.refusal(.select, "SELECT") ?? words
        case ("TIME", _) where self.refused.contains(.integerTime):
            self.struck.insert(.integerTime)
            return Self.command("EVAL", "local t = redis.call('TIME') return {tonumber(t[1]), tonumber(t[2])}", "0")
        case ("SCRIPT", "LOAD") where words.count == 3: return self.script(in: words, at: 2)
        case ("EVAL", _) where words.count > 2: return self.script(in: words, at: 1)
        case ("EVALSHA", _) where words.count > 2:
            var words = words
            if let body = self.scripts[String(decoding: words[1], as: UTF8.self)] { words[1] = Array(body.hash.utf8) }
            return words
        default: return words
        }
    }

    private mutating func refusal(_ restriction: Restriction, _ command: String) -> [[UInt8]]? {
        guard self.refused.contains(restriction) else { return nil }
        self.struck.insert(restriction)
        return Self.error(self.refusing.words(command))
    }

    private mutating func script(in words: [[UInt8]], at index: Int) -> [[UInt8]] {
        let source = String(decoding: words[index], as: UTF8.self)
        if self.refused.contains(.scriptFlags), let flag = Self.flags(of: source).first {
            self.struck.insert(.scriptFlags)
            return Self.error(self.refusing.words(flag: String(flag)))
        }
        guard self.refused.contains(.undeclaredKeys) else { return words }
        self.struck.insert(.undeclaredKeys)
        let guarded = RedisScript.Body(Self.guarded(source))
        self.scripts[RedisScript.Body(source).hash] = guarded
        var words = words
        words[index] = Array(guarded.source.utf8)
        return words
    }

    private static func flags(of source: String) -> [Substring] {
        guard source.hasPrefix("#!"), let line = source.split(whereSeparator: \.isNewline).first else { return [] }
        let parts = line.split(separator: " ").filter { $0.hasPrefix("flags=") }
        return parts.flatMap { $0.dropFirst("flags=".count).split(separator: ",") }
    }

    /// The script with a `redis` of its own that looks at keys first. Its lines keep their numbers.
    private static func guarded(_ source: String) -> String {
        let head = source.hasPrefix("#!") ? String(source.prefix { !$0.isNewline }) + "\n" : ""
        return head + self.guardian + " " + String(source.dropFirst(head.count))
    }

    private static let guardian = """
        local redis = (function(server, keys)
          local declared, keyless = {}, {TIME = true, PUBLISH = true, SPUBLISH = true}
          for _, key in ipairs(keys) do declared[key] = true end
          local function checked(call)
            return function(name, ...)
              local words = {...}
              for index = 1, keyless[name] and 0 or name == 'DEL' and #words or 1 do
                if not declared[words[index]] then error('script tried accessing undeclared key') end
              end
              return call(name, ...)
            end
          end
          return {
            call = checked(server.call), pcall = checked(server.pcall),
            status_reply = server.status_reply, error_reply = server.error_reply,
          }
        end)(redis, KEYS)
        """.split(whereSeparator: \.isNewline).joined(separator: " ")

    /// A command that a server answers with this error, in its turn.
    private static func error(_ words: String) -> [[UInt8]] {
        self.command("EVAL", "return redis.error_reply(ARGV[1])", "0", words)
    }

    private static func command(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }
}
