//! Live calls as the API shows them.

use crate::admin::{CallRequest, LiveCall, LiveLeg, LiveState, Side};
use crate::b2bua::{CallState, CallView, Calls, LegState, LegView};
use std::time::Instant;

/// Answers one question about live calls; whoever asked may have gone meanwhile.
pub(super) fn answer(calls: &mut Calls, request: CallRequest) {
    match request {
        CallRequest::List {
            customer,
            after,
            limit,
            answer,
        } => {
            let mut views = calls.list();
            views.retain(|view| {
                customer.is_none_or(|c| c == view.customer) && after.is_none_or(|id| id < view.id)
            });
            views.sort_by_key(|view| view.id);
            let _ = answer.send(views.into_iter().take(limit).filter_map(call).collect());
        }
        CallRequest::Show { id, answer } => {
            let _ = answer.send(
                calls
                    .list()
                    .into_iter()
                    .find(|view| view.id == id)
                    .and_then(call),
            );
        }
        CallRequest::Why { call, answer } => {
            let _ = answer.send(calls.why(&call));
        }
        CallRequest::CountMedia { id, answer } => {
            let _ = answer.send(calls.count_media(id, Instant::now()));
        }
        CallRequest::Media { id, answer } => {
            let _ = answer.send(calls.media_of(id));
        }
        CallRequest::HangUp { id, answer } => {
            let _ = answer.send(calls.hang_up(id, Instant::now()));
        }
        CallRequest::Registrations { ids, answer } => {
            let _ = answer.send(calls.registrations(&ids));
        }
        CallRequest::Troubles { most, answer } => {
            let _ = answer.send(calls.troubles(most));
        }
        CallRequest::RestartRegistration { id, answer } => {
            let _ = answer.send(calls.restart_registration(id, Instant::now()));
        }
    }
}

fn call(view: CallView) -> Option<LiveCall> {
    let mut legs = view.legs.into_iter();
    let a_leg = leg(legs.next()?);
    Some(LiveCall {
        id: view.id,
        customer_id: view.customer,
        direction: view.direction,
        state: match view.state {
            CallState::Ringing => LiveState::Ringing,
            CallState::Up | CallState::Held => LiveState::Answered,
            CallState::Over => LiveState::Ending,
        },
        a_leg,
        // After failed attempts, the one that counts is the last.
        b_leg: legs.last().map(leg),
        from: view.from,
        to: view.to,
        started_at: view.started_at,
        answered_at: view.answered_at,
        held_by: view
            .held_by
            .map(|at| if at == 0 { Side::ALeg } else { Side::BLeg }),
        hints: view.hints,
    })
}

fn leg(view: LegView) -> LiveLeg {
    LiveLeg {
        peer: view.peer,
        call_id: view.call_id,
        state: match view.state {
            LegState::Trying => LiveState::Trying,
            LegState::Ringing => LiveState::Ringing,
            LegState::Confirmed => LiveState::Answered,
            LegState::Ended => LiveState::Ending,
        },
    }
}
