#if Configuration
    public import Configuration
    public import Logging
    public import SingleflightLease

    extension RedisLeaseStore {
        /// Sets a store up as a reader says; what is not there keeps its default. Of the trait `Configuration`.
        ///
        /// | key | |
        /// |---|---|
        /// | `redis.url` | where Redis is; needed, and a secret: it can hold a password |
        /// | `namespace` | tells the flights of one application from those of another |
        /// | `label` | what people see of this process |
        /// | `commandTimeout` | seconds, fractions included |
        /// | `publishesEvents` | `true` or `false` |
        ///
        /// - Throws: `LeaseStoreError` of the code `invalidRequest`, which names the key that is missing or whose value
        ///   is not one.
        public convenience init(
            config: ConfigReader,
            logger: Logger = RedisLeaseStore.defaultLogger
        ) throws(LeaseStoreError) {
            guard let url = config.string(forKey: "redis.url", isSecret: true) else {
                throw LeaseStoreError(.invalidRequest, "redis.url is missing")
            }
            try self.init(url: url, configuration: RedisLeaseStoreConfiguration(config: config), logger: logger)
        }
    }

    extension RedisLeaseStoreConfiguration {
        /// Reads names and limits: see ``RedisLeaseStore/init(config:logger:)``.
        public init(config: ConfigReader) throws(LeaseStoreError) {
            self.init()
            let values = ConfiguredValues(config: config)
            do throws(ConfiguredValues.Fault) {
                if let namespace = config.string(forKey: "namespace") { self.namespace = namespace }
                if let label = config.string(forKey: "label") { self.label = label }
                try values.read("commandTimeout", into: &self.commandTimeout)
                try values.read("publishesEvents", into: &self.publishesEvents)
            } catch {
                throw LeaseStoreError(.invalidRequest, error.message)
            }
        }
    }
#endif
