import Foundation

/// A certificate authority of one test's own, in a directory that goes away with it.
final class Certificates: Sendable {
    private let directory: String

    /// Makes an authority, and a certificate for `localhost`, `127.0.0.1` and `::1`, which serves clients and
    /// servers alike.
    init() throws {
        directory = NSTemporaryDirectory() + "/singleflight-tls-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try makeAuthority("ca")
        try makeAuthority("stranger")
        try makeCertificate("localhost", names: "DNS:localhost,IP:127.0.0.1,IP:::1")
        try makeCertificate("elsewhere", names: "DNS:elsewhere.invalid")
    }

    deinit {
        try? FileManager.default.removeItem(atPath: directory)
    }

    func certificate(_ name: String) -> String { "\(directory)/\(name).pem" }
    func key(_ name: String) -> String { "\(directory)/\(name).key" }

    private func makeAuthority(_ name: String) throws {
        try openSSL(["req", "-x509"] + newKey(name) + ["-days", "2", "-out", certificate(name)])
    }

    private func makeCertificate(_ name: String, names: String) throws {
        let request = "\(directory)/\(name).csr"
        let extensions = "\(directory)/\(name).ext"
        try "subjectAltName=\(names)\n".write(toFile: extensions, atomically: true, encoding: .utf8)
        try openSSL(["req", "-new"] + newKey(name) + ["-out", request])
        try openSSL(
            ["x509", "-req", "-in", request, "-days", "2", "-extfile", extensions, "-out", certificate(name)]
                + ["-CA", certificate("ca"), "-CAkey", key("ca"), "-CAcreateserial"]
        )
    }

    private func newKey(_ name: String) -> [String] {
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-keyout", key(name), "-subj", "/CN=singleflight test \(name)"]
    }

    private func openSSL(_ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw CertificateError(arguments: arguments, status: process.terminationStatus)
        }
    }
}

struct CertificateError: Error {
    let arguments: [String]
    let status: Int32
}
