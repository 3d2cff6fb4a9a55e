-- Further numbers of a user ring where its first one does; a Sync says which.
ALTER TABLE numbers ADD COLUMN forwards_to TEXT;
