-- Lists of everybody's numbers go by the number; a customer's own are few.
DROP INDEX numbers_by_status;
CREATE INDEX numbers_by_status ON numbers (status, number);
CREATE INDEX numbers_in_stock ON numbers (number) WHERE customer_id IS NULL;
