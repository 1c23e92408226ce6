"""What is known of the errata of the chapter: their texts, as data, and the records of their runs."""
