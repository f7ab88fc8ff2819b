import Hummingbird
import SingleflightRedis

struct Report: ResponseCodable, Sendable {
    var tenant: String
    var orders: Int
    var sum: Int
}

/// Reports that are slow to compute: the value is coalesced, whatever becomes of it in a response.
struct Reports: Sendable {
    let flights: DistributedGroup<CompoundKey, Report>

    /// A client that hangs up leaves the flight. The query goes on as long as somebody waits for it, on whatever host,
    /// and is canceled at the database when nobody does.
    func report(_ tenant: String, for request: Request) async throws -> Report {
        // The key names all that the report depends on.
        try await request.body.consumeWithCancellationOnInboundClose { _ in
            try await self.flights.value(CompoundKey(tenant, "report")) { _ in try await self.compute(tenant) }
        }
    }

    /// Counted by the database.
    private func compute(_ tenant: String) async throws -> Report {
        _ = try await Postgres.query("INSERT INTO queries (name, tenant) VALUES ('report', $1)", tenant)
        let rows = try await Postgres.query(
            "SELECT count(*), coalesce(sum(amount), 0), pg_sleep(4) FROM orders WHERE tenant = $1",
            tenant
        )
        guard let row = rows.first, let orders = Int(row[0]), let sum = Int(row[1]) else {
            throw HTTPError(.internalServerError)
        }
        return Report(tenant: tenant, orders: orders, sum: sum)
    }
}
