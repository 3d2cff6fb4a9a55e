/// A place where this SBC is paired with Teams: one base domain and one carrier trunk object (TDR-1201).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// `EU_WEST_1`, unique.
    pub code: String,
    /// The carrier trunk's name in lower case; gateways are its direct children (TDR-1205).
    pub base_fqdn: String,
    /// The port that Teams dials, and that Contacts towards Teams carry.
    pub sip_port: u16,
    /// Whether its carrier trunk is set up for media bypass at Microsoft. A trunk without needs another name and another
    /// port (TDR-846).
    pub media_bypass: bool,
    /// Emergency numbers of the region, as dialled there, without `+` (TDR-1001).
    pub emergency_numbers: Vec<String>,
    /// Whether its gateways are used.
    pub enabled: bool,
}
