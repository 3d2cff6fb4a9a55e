//! Whether the numbers of a customer can be called.

use super::Check;
use crate::directory::{AdminState, Customer, Directory, GatewayState};

/// Name of the check.
pub const NUMBERS: &str = "number plan";

/// Numbers of one customer: each is E.164 by its type; there must be a gateway that they are behind.
pub fn plan(directory: &Directory, customer: &Customer) -> Check {
    let account = &customer.account_id;
    let owned = directory
        .numbers()
        .filter(|phone| phone.customer == customer.id);
    let (mut all, mut in_service) = (0_usize, 0_usize);
    for phone in owned {
        all += 1;
        in_service += usize::from(phone.in_service);
    }
    let active = directory
        .gateways()
        .filter(|g| g.customer == customer.id && g.state == GatewayState::Active)
        .count();
    let evidence =
        format!("{account}: {in_service} of {all} numbers in service, {active} active gateways");
    if customer.admin_state == AdminState::Disabled || !customer.activation_state.is_in_service() {
        let evidence = format!(
            "{evidence}; the customer is {}, {}",
            customer.admin_state.name(),
            customer.activation_state.name()
        );
        return Check::fault(NUMBERS, evidence, "enable and activate the customer");
    }
    if all > 0 && active == 0 {
        return Check::fault(
            NUMBERS,
            evidence,
            "numbers without an active gateway cannot be called: finish the activation, or set the gateway active",
        );
    }
    if in_service == 0 {
        return Check::warning(
            NUMBERS,
            evidence,
            "add the customer's numbers in E.164, as they are assigned in Teams (TDR-1301)",
        );
    }
    Check::ok(NUMBERS, evidence)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::directory::ActivationState;
    use crate::directory::examples::{rows, trunk};

    /// Numbers in service behind an active gateway are fine; without one, or with none in service, they are not.
    #[test]
    fn numbers_need_a_gateway() {
        let verdict = |change: fn(&mut crate::directory::Rows)| {
            let mut rows = rows(vec![trunk("pbx", None)]);
            change(&mut rows);
            let customer = rows.customers[0].clone();
            plan(&Directory::compile(rows).unwrap(), &customer).verdict
        };
        assert_eq!(verdict(|_| {}), Verdict::Ok);
        assert_eq!(
            verdict(|rows| rows.gateways[0].state = GatewayState::Verified),
            Verdict::Fault
        );
        assert_eq!(
            verdict(|rows| rows.numbers.iter_mut().for_each(|n| n.in_service = false)),
            Verdict::Warning
        );
        assert_eq!(
            verdict(|rows| rows.customers[0].activation_state = ActivationState::Inactive),
            Verdict::Fault
        );
    }
}
