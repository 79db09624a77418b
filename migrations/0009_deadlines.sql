-- One deadline stands for each (stream, kind, detail), and that alone is unique. A second uniqueness, of the
-- id, made two workers that set the same deadline at once collide outside of `on conflict`.

alter table deadline drop constraint deadline_pkey;
