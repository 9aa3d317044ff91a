"""Alert rules on the history of programs: what is judged (`policy`), from what (`readings`), by whom (`watch`)."""
