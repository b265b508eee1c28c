-- A job whose outputs are on their way fails if the last copy of one of them is lost.
INSERT INTO job_way (before, state) VALUES ('transferring', 'failed');
