import Support

@testable import HiredisClient

/// A URL that is understood names a usable endpoint, reads the same when it is written out with everything escaped, and
/// never shows its password; one that was put together gives its parts back.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = Input(start, count)
    if input.byte() & 1 == 0 {
        let text = String(decoding: input.bytes, as: UTF8.self)
        if let url = try? RedisURL(text) {
            checkUsable(url)
            checkRoundTrip(url)
            checkLogin(url, Array(text.utf8))
            checkTarget(url, text)
        } else {
            // A deployment of several servers, or nothing: it must not trap.
            _ = try? RedisTarget(text)
        }
    } else {
        var url = RedisURL(endpoint: .tcp(host: "localhost", port: input.number(1...65_535)))
        switch input.byte() & 3 {
        case 0:
            let path = input.text()
            url.endpoint = .unixSocket(path: path.isEmpty ? "/s" : "/" + path)
        case 1:
            let files = [input.text(), input.text(), input.text()]
            url.tls = RedisTLS(authorities: files[0].isEmpty ? nil : files[0])
            if !files[1].isEmpty, !files[2].isEmpty { url.tls?.identity = .init(certificate: files[1], key: files[2]) }
        default: break
        }
        url.database = input.number(0...Int.max - 1)
        let user = input.text()
        url.user = user.isEmpty ? nil : user
        if input.byte() & 1 == 0 { url.password = RedisURL.Secret(input.text()) }
        checkRoundTrip(url)
        checkSilence(url)
    }
    return 0
}

private func checkUsable(_ url: RedisURL) {
    expect(url.database >= 0, "database \(url.database)")
    expect(url.user != "", "an empty user")
    switch url.endpoint {
    case .tcp(let host, let port):
        expect(!host.isEmpty, "an empty host")
        // What stands before an at sign is credentials, however many there are: in a host they would be shown.
        expect(!host.utf8.contains { "@/?#".utf8.contains($0) }, "host \(host)")
        expect((1...65_535).contains(port), "port \(port)")
    case .unixSocket(let path):
        expect(path.utf8.first == UInt8(ascii: "/") && path != "/", "path \(path)")
    }
}

/// The URL of one server means the same where it could be one of several, unless it names several.
private func checkTarget(_ url: RedisURL, _ text: String) {
    if case .tcp(let host, _) = url.endpoint, host.utf8.contains(UInt8(ascii: ",")) { return }
    do {
        let target = try RedisTarget(text)
        expectEqual("\(target)", "\(url)", "\(text) is another deployment")
        expectEqual(target.tls, url.tls, "TLS differs")
        expectEqual(target.credentials?.user, url.user, "the user differs")
    } catch {
        expect(false, "\(text) is refused: \(error)")
    }
}

/// What stands behind a colon in a login is a password, whatever it joins with: as part of the user it would be shown.
private func checkLogin(_ url: RedisURL, _ bytes: [UInt8]) {
    guard let scheme = bytes.firstRange(of: Array("://".utf8)) else { return expect(false, "no scheme") }
    let authority = bytes[scheme.upperBound...].prefix { !"/?#".utf8.contains($0) }
    guard let at = authority.lastIndex(of: UInt8(ascii: "@")) else { return }
    guard authority[..<at].contains(UInt8(ascii: ":")) else { return }
    expect(url.password != nil, "a password was read as a part of the user")
}

private func checkRoundTrip(_ url: RedisURL) {
    let text = url.text
    do {
        let again = try RedisURL(text)
        expectEqual(again, url, "\(text) is read differently")
        expectEqual(again.password?.value, url.password?.value, "another password")
    } catch {
        expect(false, "\(text) is refused: \(error)")
    }
}

/// A password that is told apart from the rest is in none of the texts that are for people.
private func checkSilence(_ url: RedisURL) {
    var url = url
    url.password = RedisURL.Secret("\u{1}secret\u{1}" + (url.password?.value ?? ""))
    var dumped = ""
    dump(url, to: &dumped)
    for shown in ["\(url)", url.debugDescription, dumped, "\(url.password, default: "")", "\(String(reflecting: url))"]
    {
        expect(!shown.contains("secret"), "the password shows: \(shown)")
    }
}

extension RedisURL {
    /// The URL in full.
    fileprivate var text: String {
        var login = Self.escaped(self.user ?? "")
        if let password { login += ":" + Self.escaped(password.value) }
        if !login.isEmpty { login += "@" }
        return switch self.endpoint {
        case .tcp(let host, let port):
            "redis\(self.tls == nil ? "" : "s")://\(login)\(host.contains(":") ? "[\(host)]" : host):\(port)/\(self.database)"
                + self.query
        case .unixSocket(let path):
            // By bytes: what follows the slash may join with it.
            "redis+unix://\(login)/\(Self.escaped(path).dropFirst(3))?db=\(self.database)"
        }
    }

    private var query: String {
        let files = [
            ("ca", self.tls?.authorities), ("cert", self.tls?.identity?.certificate), ("key", self.tls?.identity?.key),
        ]
        let items = files.compactMap { name, file in file.map { "\(name)=\(Self.escaped($0))" } }
        return items.isEmpty ? "" : "?" + items.joined(separator: "&")
    }

    private static func escaped(_ text: String) -> String {
        text.utf8.map { byte in
            let digits = String(byte, radix: 16)
            return "%" + String(repeating: "0", count: 2 - digits.count) + digits
        }.joined()
    }
}
