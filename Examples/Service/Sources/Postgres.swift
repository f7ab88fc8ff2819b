import CPostgres
import Foundation

/// As much of a PostgreSQL client as the example needs: a connection for each query, on a thread of Dispatch.
enum Postgres {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// The texts of the rows. If the task is canceled, the query is canceled at the server, too. PGHOST and its kind
    /// say where that is.
    static func query(_ sql: String, _ parameters: String...) async throws -> [[String]] {
        let connection = try await self.onThread { try Connection() }
        return try await withTaskCancellationHandler {
            try await self.onThread { try connection.run(sql, parameters) }
        } onCancel: {
            DispatchQueue.global().async { connection.cancel() }
        }
    }

    private static func onThread<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(with: Result(catching: work)) }
        }
    }

    /// Used by one query; only `cancel` may be called beside it, which libpq allows.
    private final class Connection: @unchecked Sendable {
        private let handle: OpaquePointer
        private let canceler: OpaquePointer?

        init() throws {
            guard let handle = PQconnectdb("") else { throw Failure(description: "out of memory") }
            guard PQstatus(handle) == CONNECTION_OK else {
                defer { PQfinish(handle) }
                throw Failure(description: String(cString: PQerrorMessage(handle)))
            }
            self.handle = handle
            self.canceler = PQgetCancel(handle)
        }

        deinit {
            PQfreeCancel(self.canceler)
            PQfinish(self.handle)
        }

        func run(_ sql: String, _ parameters: [String]) throws -> [[String]] {
            let texts = parameters.map { strdup($0) }
            defer { texts.forEach { free($0) } }
            let pointers = texts.map { UnsafePointer($0) }
            let result = PQexecParams(self.handle, sql, Int32(texts.count), nil, pointers, nil, nil, 0)
            defer { PQclear(result) }
            guard [PGRES_TUPLES_OK, PGRES_COMMAND_OK].contains(PQresultStatus(result)) else {
                throw Failure(description: String(cString: PQerrorMessage(self.handle)))
            }
            return (0..<PQntuples(result)).map { row in
                (0..<PQnfields(result)).map { column in String(cString: PQgetvalue(result, row, column)) }
            }
        }

        func cancel() {
            var message = [CChar](repeating: 0, count: 256)
            PQcancel(self.canceler, &message, Int32(message.count))
        }
    }
}
