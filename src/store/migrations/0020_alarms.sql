-- What is wrong now is looked up by what is wrong, and not among everything.
CREATE INDEX activations_open_by_state ON activations (substr(state, 1, 9), seq) WHERE ended_at IS NULL;
CREATE INDEX events_of_lost_tokens ON events (customer_id, at) WHERE kind = 'tenant.token_invalid';
