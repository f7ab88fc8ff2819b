/// How a connection logs in: with a user and a password, or with what is found anew at each login, since passwords
/// rotate.
///
/// Credentials are sent to the servers that they were given for, and to no other: those of the sentinels never to the
/// primary, nor the reverse. No description shows a password.
public struct RedisCredentials: Sendable {
    /// A user and a password.
    public struct Login: Sendable, Hashable {
        /// The user's name; `nil` for the default user.
        public var user: String?
        package var secret: RedisURL.Secret?

        /// Creates a login; without a user it is the default user's.
        public init(user: String? = nil, password: String) {
            self.user = user
            self.secret = RedisURL.Secret(password)
        }

        package init(user: String?, secret: RedisURL.Secret?) {
            self.user = user
            self.secret = secret
        }
    }

    package enum Source: Sendable {
        case fixed(Login)
        case file(user: String?, path: String)
        case closure(@Sendable () async throws -> Login)
    }

    package let source: Source

    package init(source: Source) {
        self.source = source
    }

    /// A password that stays the same.
    public init(user: String? = nil, password: String) {
        self.init(source: .fixed(Login(user: user, password: password)))
    }

    /// A password that is the first line of a file, which is read anew at each login.
    ///
    /// A file that cannot be read, or whose first line is empty, fails the login; the error names the file.
    public init(user: String? = nil, passwordFile: String) {
        self.init(source: .file(user: user, path: passwordFile))
    }

    /// What `login` returns, asked anew at each login.
    ///
    /// It may be called from several connections at a time. It has the connect timeout, two seconds, after which the
    /// attempt to connect has failed; an error that it throws fails the attempt as well. Both are tried again.
    public init(_ login: @escaping @Sendable () async throws -> Login) {
        self.init(source: .closure(login))
    }

    /// The user, as far as it is known before the login.
    package var user: String? {
        switch source {
        case .fixed(let login): login.user
        case .file(let user, _): user
        case .closure: nil
        }
    }

    /// Whether there is a password, or something that tells it.
    package var hasPassword: Bool {
        if case .fixed(let login) = source { login.secret != nil } else { true }
    }

    /// Whether the password itself is in here.
    package var showsPassword: Bool {
        if case .fixed(let login) = source { login.secret != nil } else { false }
    }

    /// In front of an `@`, as it may be shown.
    package var shown: String {
        switch source {
        case .fixed(let login): (login.user ?? "") + (login.secret == nil ? "" : ":***")
        case .file(let user, _): (user ?? "") + ":***"
        case .closure: ":***"
        }
    }
}

extension RedisCredentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The user; never the password.
    public var description: String { shown }
    /// The same.
    public var debugDescription: String { shown }
    /// Shows nothing.
    public var customMirror: Mirror { Mirror(self, children: EmptyCollection()) }
}

extension RedisCredentials.Login: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The user; never the password.
    public var description: String { RedisCredentials(source: .fixed(self)).shown }
    /// The same.
    public var debugDescription: String { description }
    /// Shows nothing.
    public var customMirror: Mirror { Mirror(self, children: EmptyCollection()) }
}
