//! PowerShell that sets the tenants up, ready to copy (TDR-1123, TDR-1203, TDR-1306).

use std::fmt::Write;

use crate::directory::Region;

/// For the carrier's tenant: the trunk object of a region.
pub fn carrier(region: &Region) -> String {
    let Region {
        base_fqdn,
        sip_port,
        ..
    } = region;
    format!(
        "# In the carrier's tenant, once for {base_fqdn}:\n\
         Connect-MicrosoftTeams\n\
         New-CsOnlinePSTNGateway -Fqdn {base_fqdn} -SipSignalingPort {sip_port} -ForwardPai $true -ForwardCallHistory $true \
         -SendSipOptions $true -FailoverTimeSeconds 20 -MediaBypass $false -PidfLoSupported $true -Enabled $true\n\
         Get-CsOnlinePSTNGateway -Identity {base_fqdn}\n"
    )
}

/// For a customer's tenant: the name of a gateway becomes a domain of it.
pub fn domain(fqdn: &str, base: &str, code: Option<&str>) -> String {
    let seen = match code {
        Some(code) => {
            format!("# {code:?} has been taken for the TXT record of {fqdn}; once it is in DNS:\n")
        }
        None => {
            format!("# Give the text that this shows to whoever runs {base}; once it is in DNS:\n")
        }
    };
    format!(
        "# In the customer's tenant, as Global Administrator:\n\
         Connect-MgGraph -Scopes Domain.ReadWrite.All,User.ReadWrite.All,Organization.Read.All\n\
         New-MgDomain -Id {fqdn}\n\
         Get-MgDomainVerificationDnsRecord -DomainId {fqdn} | Where-Object RecordType -eq Txt | ForEach-Object {{ $_.AdditionalProperties.text }}\n\
         {seen}\
         Confirm-MgDomain -DomainId {fqdn}\n\
         # A user with a licence for Teams takes the domain into use:\n\
         New-MgUser -AccountEnabled -DisplayName 'Gateway activation' -MailNickname activation -UserPrincipalName activation@{fqdn} \
         -UsageLocation US -PasswordProfile @{{ Password = [guid]::NewGuid().ToString() + 'aA1!' }}\n\
         Set-MgUserLicense -UserId activation@{fqdn} -AddLicenses @{{ SkuId = (Get-MgSubscribedSku | Where-Object {{ $_.ServicePlans.ServicePlanName -like 'TEAMS*' }} | Select-Object -First 1).SkuId }} -RemoveLicenses @()\n\n"
    )
}

/// For a customer's tenant: usage, route and policy for its derived trunks, by their names in the order of trial.
pub fn customer(account: &str, gateways: &[String]) -> String {
    let name = account.replace('\'', "''");
    let list = gateways.join(",");
    let mut text = format!(
        "# In the tenant of {account}, after its domains are verified and activated:\nConnect-MicrosoftTeams\n"
    );
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "Set-CsOnlinePstnUsage -Identity Global -Usage @{{Add='{name}'}}\n\
         New-CsOnlineVoiceRoute -Identity '{name}' -NumberPattern '.*' -OnlinePstnGatewayList {list} -Priority 1 -OnlinePstnUsages '{name}'\n\
         # If the route is there already: Set-CsOnlineVoiceRoute -Identity '{name}' -OnlinePstnGatewayList {list}\n\
         New-CsOnlineVoiceRoutingPolicy -Identity '{name}' -OnlinePstnUsages '{name}'\n\
         # For each user:\n\
         Set-CsPhoneNumberAssignment -Identity USER@DOMAIN -PhoneNumber +NUMBER -PhoneNumberType DirectRouting\n\
         Grant-CsOnlineVoiceRoutingPolicy -Identity USER@DOMAIN -PolicyName '{name}'\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::examples;

    /// TDR-1123, TDR-1203: the carrier's trunk is created by its base name, the customer's route lists derived trunks.
    #[test]
    fn the_scripts_name_the_trunks() {
        let region = examples::region("EU");
        assert!(carrier(&region).contains(&format!(
            "New-CsOnlinePSTNGateway -Fqdn {} -SipSignalingPort {}",
            region.base_fqdn, region.sip_port
        )));
        let text = customer("o'acme", &["acme.eu.example".to_owned()]);
        assert!(
            text.contains("-OnlinePstnGatewayList acme.eu.example") && text.contains("'o''acme'"),
            "{text}"
        );
        assert!(
            text.contains("Set-CsOnlineVoiceRoute")
                && text.contains("New-CsOnlineVoiceRoutingPolicy")
        );
        let text = domain("acme.eu.example", "eu.example", Some("MS=ms1"));
        assert!(
            text.contains("Confirm-MgDomain -DomainId acme.eu.example") && text.contains("MS=ms1")
        );
    }
}
